// What a model's card (README.md) says at its head, read from one that comes from outside and written for a
// new one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/io/json.hpp"

namespace midus {

inline constexpr std::string_view model_card_name = "README.md";

/// A card in two: the members between its first two lines of `---` that are a text or a list of texts, and
/// what comes below.
struct ModelCard {
  std::map<std::string, std::vector<std::string>> head;
  std::string body;
};

namespace detail {

inline std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  return first == text.npos ? "" : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// Takes a scalar of YAML off the front of `text`: plain, to one of `ends` or a comment, or in quotes. None
/// where it is something else (an anchor, a block, a map, ...).
inline std::optional<std::string> take_yaml_scalar(std::string_view& text, std::string_view ends) {
  text = trimmed(text);
  if (text.empty()) return std::nullopt;
  const char quote = text.front();
  if (quote == '\'') {  // a quote in it is doubled
    std::string value;
    for (std::size_t i = 1; i < text.size(); ++i) {
      if (text[i] == quote && text.substr(i, 2) != "''") {
        text = trimmed(text.substr(i + 1));
        return value;
      }
      if (text[i] == quote) ++i;
      value += text[i];
    }
    return std::nullopt;
  }
  if (quote == '"') {
    std::size_t end = 1;
    while (end < text.size() && text[end] != quote) end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size()) return std::nullopt;
    const Json json =
        Json::parse(text.substr(0, end + 1), nullptr, false);  // of YAML's escapes, those of JSON
    text = trimmed(text.substr(end + 1));
    return json.is_string() ? std::optional(json.get<std::string>()) : std::nullopt;
  }
  if (std::string_view("[]{}&*!|>%@`#,?:-").find(quote) != std::string_view::npos) return std::nullopt;
  std::size_t end = std::min(text.find_first_of(ends), text.find(" #"));
  end = std::min(end, text.size());
  const std::string plain(trimmed(text.substr(0, end)));
  text = trimmed(text.substr(end));
  if (plain.empty() || plain == "~" || plain == "null" || plain.find(": ") != plain.npos ||
      plain.back() == ':')
    return std::nullopt;
  return plain;
}

inline bool is_rest_of_line(std::string_view text) { return text.empty() || text.front() == '#'; }

/// A member's value on its own line: a text, or a list in brackets. Empty where it is something else.
inline std::vector<std::string> yaml_value(std::string_view text) {
  std::vector<std::string> values;
  text = trimmed(text);
  if (!text.starts_with('[')) {
    const std::optional<std::string> value = take_yaml_scalar(text, "");
    if (value && is_rest_of_line(text)) values.push_back(*value);
    return values;
  }
  text.remove_prefix(1);
  while (true) {
    const std::optional<std::string> value = take_yaml_scalar(text, ",]");
    if (!value || text.empty()) return {};
    values.push_back(*value);
    const char next = text.front();
    text.remove_prefix(1);
    if (next == ']') return is_rest_of_line(trimmed(text)) ? values : std::vector<std::string>();
    if (next != ',') return {};
  }
}

}  // namespace detail

/// Reads a card. Its head is YAML, of which only what a model's licence and origin are written in is
/// understood: `key: text`, `key: [text, text]`, and a list of a `- text` a line; members of another form are
/// passed over.
inline ModelCard read_model_card(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  ModelCard card;
  const auto next_line = [](std::string_view& rest) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  };
  std::string_view rest = text;
  const auto is_mark = [](std::string_view line) {
    return line.starts_with("---") && detail::trimmed(line.substr(3)).empty();
  };
  if (!is_mark(next_line(rest))) return {{}, std::string(text)};
  std::string key;    // of the list that the next lines belong to
  bool list = false;  // whether they can
  while (true) {
    if (rest.empty()) return {{}, std::string(text)};  // no second mark: it was no head
    std::string_view line = next_line(rest);
    if (is_mark(line)) break;
    if (detail::is_rest_of_line(detail::trimmed(line))) continue;
    const std::size_t indent = line.find_first_not_of(' ');
    line.remove_prefix(indent);
    if (line.starts_with("- ")) {
      line.remove_prefix(2);
      const std::optional<std::string> value = detail::take_yaml_scalar(line, "");
      if (list && value && detail::is_rest_of_line(line))
        card.head[key].push_back(*value);
      else if (list)
        card.head.erase(key), list = false;
      continue;
    }
    if (indent > 0) {  // of a map, or of a text over several lines
      card.head.erase(key), list = false;
      continue;
    }
    const std::size_t colon = line.find(':');
    key = detail::trimmed(line.substr(0, colon));
    list = false;
    if (colon == line.npos || card.head.contains(key)) continue;
    const std::string_view value = detail::trimmed(line.substr(colon + 1));
    list = detail::is_rest_of_line(value);
    if (std::vector<std::string> values = detail::yaml_value(value); !values.empty())
      card.head[key] = std::move(values);
  }
  card.body = rest;
  return card;
}

/// The head of a card. Every value is in double quotes, so that no text from outside is anything else than a
/// text.
inline std::string model_card_head(
    const std::vector<std::pair<std::string, std::vector<std::string>>>& members) {
  const auto quoted = [](const std::string& text) {
    return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
  };
  std::string out = "---\n";
  for (const auto& [key, values] : members) {
    if (values.size() == 1) {
      out += key + ": " + quoted(values.front()) + "\n";
      continue;
    }
    out += key + ":\n";
    for (const std::string& value : values) out += "- " + quoted(value) + "\n";
  }
  return out + "---\n";
}

}  // namespace midus
