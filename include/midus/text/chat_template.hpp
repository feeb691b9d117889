// Chat templates: the part of Jinja that they use. What is beyond it is refused by name.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/text/template_expression.hpp"
#include "midus/text/unicode.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// A template such as those of tokenizer_config.json, with the settings of transformers: a line feed behind a
/// block goes, and blanks before one. Text, {{ }}, and the statements set, if, for, break and continue.
class ChatTemplate {
 public:
  /// `name` is what errors call it. Throws `Error` where a tag or a block has no end, and where it is no
  /// UTF-8.
  explicit ChatTemplate(std::string_view text, std::string name = "the chat template")
      : name_(std::move(name)) {
    if (!is_utf8(text)) fail(name_, " is not UTF-8");
    const std::string lines = with_line_feeds(text);
    std::string_view source = lines;
    if (source.ends_with('\n')) source.remove_suffix(1);
    bool strip = false, feed = false;  // what the tag before takes of the text behind it
    bool line = true;                  // the text begins a line
    for (std::size_t at = 0; at < source.size();) {
      std::size_t tag = at;
      while ((tag = source.find('{', tag)) != source.npos && !is_tag(source.substr(tag))) ++tag;
      std::string between(source.substr(at, tag == source.npos ? source.npos : tag - at));
      const std::size_t taken = strip  ? leading_space(between)
                                : feed ? static_cast<std::size_t>(between.starts_with('\n'))
                                       : 0;
      line = line || (taken > 0 && between[taken - 1] == '\n');
      between.erase(0, taken);
      strip = feed = false;
      if (tag == source.npos) {
        parts_.push_back({Kind::text, between, "", 0});
        break;
      }
      const char kind = source[tag + 1];
      const char close = kind == '{' ? '}' : kind;
      const std::size_t end = end_of_tag(source, tag + 2, close);
      std::string_view body = source.substr(tag + 2, end - tag - 2);
      const bool kept = body.starts_with('+');
      if (body.starts_with('-'))
        between.resize(without_trailing_space(between));
      else if (kind != '{' && !kept)
        strip_indentation(between, line);
      line = false;
      if (body.starts_with('-') || kept) body.remove_prefix(1);
      strip = body.ends_with('-');
      feed = kind != '{' && !strip && !body.ends_with('+');
      if (body.ends_with('-') || (kind != '{' && body.ends_with('+'))) body.remove_suffix(1);
      parts_.push_back({Kind::text, between, "", 0});
      if (kind == '{') parts_.push_back({Kind::output, std::string(body), "", 0});
      if (kind == '%') parts_.push_back({Kind::statement, std::string(body), keyword(body), 0});
      at = end + 2;
    }
    find_branches();
  }

  /// The text for `messages` and whatever else the template asks for. Throws `Error` with the template's own
  /// message where it raises one, and where it asks for what midus does not do.
  std::string operator()(const Json& variables) const {
    Run run(*this, variables);
    run.parts(0, parts_.size());
    return std::move(run.out);
  }

 private:
  enum class Kind { text, output, statement };
  struct Part {
    Kind kind;
    std::string body;
    std::string word;  // a statement's first
    std::size_t next;  // of a branch of a block: where the next one begins, or the block ends
  };

  static std::string with_line_feeds(std::string_view text) {
    std::string lines;
    for (std::size_t i = 0; i < text.size(); ++i) {
      lines += text[i] == '\r' ? '\n' : text[i];
      if (text.substr(i).starts_with("\r\n")) ++i;
    }
    return lines;
  }
  static std::string keyword(std::string_view body) {
    const std::size_t begin = std::min(body.find_first_not_of(" \t\n\r"), body.size());
    std::size_t end = begin;
    while (end < body.size() && (std::isalnum(static_cast<unsigned char>(body[end])) || body[end] == '_'))
      ++end;
    return std::string(body.substr(begin, end - begin));
  }
  void find_branches() {
    std::vector<std::pair<std::size_t, std::string>> open;  // the last branch of each block, and its word
    int loops = 0;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const std::string& word = parts_[i].word;
      if (word == "if" || word == "for") open.emplace_back(i, word);
      if (loops == 0 && (word == "break" || word == "continue"))
        fail(name_, ": {% ", word, " %} outside of a loop");
      if (word == "for") ++loops;
      if (word == "endfor") --loops;
      const bool ends = word == "endif" || word == "endfor";
      if (!ends && word != "elif" && word != "else") continue;
      const bool fits = !open.empty() && (ends ? word == "end" + open.back().second
                                          : parts_[open.back().first].word == "else"
                                              ? false
                                              : word == "else" || open.back().second == "if");
      if (!fits) fail(name_, ": {% ", word, " %} without its beginning");
      parts_[open.back().first].next = i;
      open.back().first = i;
      if (ends) open.pop_back();
    }
    if (!open.empty()) fail(name_, ": {% ", open.back().second, " %} has no end");
  }

  static bool is_tag(std::string_view at) {
    return at.size() > 1 && (at[1] == '{' || at[1] == '%' || at[1] == '#');
  }
  std::size_t end_of_tag(std::string_view source, std::size_t at, char close) const {
    char quote = 0;
    std::size_t inside = 0;  // of brackets
    for (; at + 1 < source.size(); ++at) {
      const char c = source[at];
      if (quote != 0 && c == '\\')
        ++at;
      else if (quote != 0)
        quote = c == quote ? '\0' : quote;
      else if (close != '#' && (c == '\'' || c == '"'))
        quote = c;
      else if (c == close && source[at + 1] == '}' && inside == 0)
        return at;
      else if (close != '#' && (c == '(' || c == '[' || c == '{'))
        ++inside;
      else if (inside > 0 && (c == ')' || c == ']' || c == '}'))
        --inside;
    }
    fail(name_, ": a tag {", std::string(1, close == '}' ? '{' : close), " has no end");
  }
  /// Bytes of white space, as Python has it, that the text begins with.
  static std::size_t leading_space(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size()) {
      const Utf8Character c = first_character(text.substr(at));
      if (!is_python_space(c.value)) break;
      at += c.bytes;
    }
    return at;
  }
  static std::size_t without_trailing_space(std::string_view text) {
    while (!text.empty()) {
      const std::size_t begin = last_character(text);
      if (!is_python_space(first_character(text.substr(begin)).value)) break;
      text = text.substr(0, begin);
    }
    return text.size();
  }
  static void strip_indentation(std::string& text, bool line) {
    const std::size_t begin = text.rfind('\n') + 1;  // of the last line
    const std::string_view last = std::string_view(text).substr(begin);
    if ((line || begin > 0) && leading_space(last) == last.size()) text.resize(begin);
  }

  struct Run : detail::TemplateExpressions {
    Run(const ChatTemplate& chat, const Json& variables) : of(chat) {
      name = chat.name_;
      scopes.emplace_back();
      if (!variables.is_object()) fail(name, ": the variables are no object");
      for (auto item = variables.begin(); item != variables.end(); ++item) scopes[0][item.key()] = *item;
    }

    const ChatTemplate& of;
    std::string out;
    int steps = 0;
    enum class Flow { on, again, out } flow = Flow::on;

    void parts(std::size_t begin, std::size_t end) {
      const Deeper deeper(*this);
      for (std::size_t i = begin; i < end && flow == Flow::on; ++i) {
        const Part& part = of.parts_[i];
        if (++steps > 100'000 || out.size() > (std::size_t{16} << 20)) fail(of.name_, " makes too much");
        if (part.kind == Kind::text) out += part.body;
        if (part.kind == Kind::output) out += string(all(part.body)), check();
        if (part.kind == Kind::statement) i = statement(i);
      }
    }
    /// Returns its last part.
    std::size_t statement(std::size_t at) {
      in = of.parts_[at].body;
      charge(in.size());
      const std::string word = identifier();
      if (word == "set") return set(), at;
      if (word == "break" || word == "continue") return flow = word == "break" ? Flow::out : Flow::again, at;
      if (word == "generation" || word == "endgeneration") return at;
      if (word == "for") return loop(at);
      if (word != "if") refuse("{% " + word + " %}");
      bool done = false;
      for (std::size_t next = 0; (next = of.parts_[at].next) != 0; at = next) {
        if (done) continue;
        in = of.parts_[at].body;
        done = identifier() == "else" || truth(all(in));
        if (done) parts(at + 1, next);
      }
      return at;
    }
    void set() {
      const std::string variable = identifier(), member = take(".") ? identifier() : "";
      if (!take("=")) refuse("{% set %} without a value");
      Json value = charged(all(in));
      Json* const space = member.empty() ? &scopes.back()[variable] : find(variable);
      if (member.empty())
        *space = std::move(value);
      else if (space != nullptr && space->is_object())
        put(*space, member, std::move(value));
      else
        fail(name, ": {% set ", variable, ".", member, " %}, but ", variable, " is no namespace");
    }
    void bind(const std::vector<std::string>& names, const Json& item) {
      if (names.size() == 1) {
        scopes.back()[names[0]] = charged(item);
        return;
      }
      const Json values = items_of(item);
      check();
      if (values.size() != names.size())
        fail(name, ": a {% for %} with ", names.size(), " names over items of ", values.size());
      for (std::size_t i = 0; i < names.size(); ++i) scopes.back()[names[i]] = values[i];
    }
    std::size_t loop(const std::size_t at) {
      std::vector<std::string> names{identifier()};
      while (take(",")) names.push_back(identifier());
      if (names.back().empty() || !word("in")) refuse("such a {% for %}");
      const Json over = items_of(either());
      const std::string_view condition = word("if") ? in : std::string_view();
      if (condition.empty()) finish();
      check();
      Json items = condition.empty() ? over : Json::array();
      for (std::size_t i = 0; i < over.size() && !condition.empty(); ++i) {
        scopes.emplace_back();
        bind(names, over[i]);
        if (truth(all(condition))) items.push_back(charged(over[i]));
        scopes.pop_back();
      }
      const std::size_t size = items.size(), next = of.parts_[at].next;
      for (std::size_t i = 0; i < size && flow != Flow::out; ++i) {
        scopes.emplace_back();
        bind(names, items[i]);
        Json& loop =
            scopes.back()["loop"] = {{"index0", i},          {"index", i + 1},  {"revindex0", size - i - 1},
                                     {"revindex", size - i}, {"first", i == 0}, {"last", i + 1 == size},
                                     {"length", size},       {"depth0", 0},     {"depth", 1}};
        if (i > 0) loop["previtem"] = charged(items[i - 1]);
        if (i + 1 < size) loop["nextitem"] = charged(items[i + 1]);
        parts(at + 1, next);
        if (flow == Flow::again) flow = Flow::on;
        scopes.pop_back();
      }
      flow = Flow::on;
      const std::size_t last = of.parts_[next].next;
      if (items.empty() && last != 0) parts(next + 1, last);
      return last != 0 ? last : next;
    }
  };

  std::string name_;
  std::vector<Part> parts_;
};

/// The text of a chat that a model is to answer: `messages` is a list of {"role": ..., "content": ...}, the
/// template that of the directory's chat_template.jinja, or else of its tokenizer_config.json (of several the
/// one called "default"), as transformers has them. It spells the special tokens. Throws `Error` where there
/// is none, and where it does not take such messages.
inline std::string chat_text(const std::filesystem::path& directory, const Json& messages) {
  const std::filesystem::path file = directory / "chat_template.jinja",
                              settings = directory / "tokenizer_config.json";
  Json variables = Json::object(), source;
  const auto take_tokens = [&](const Json& json, const std::filesystem::path& from) {
    if (!json.is_object()) fail(from.string(), ": expected an object");
    for (auto item = json.begin(); item != json.end(); ++item) {
      const Json& token = item->is_object() && item->contains("content") ? (*item)["content"] : *item;
      if (item.key().ends_with("_token") && token.is_string()) variables[item.key()] = token;
    }
  };
  if (may_exist(settings)) {
    const Json json = read_json_file(settings);
    take_tokens(json, settings);
    if (const auto map = directory / "special_tokens_map.json";
        !json.contains("added_tokens_decoder") && may_exist(map))  // older directories; there it wins
      take_tokens(read_json_file(map), map);
    if (json.contains("chat_template")) source = json["chat_template"];
    for (const Json& each : source.is_array() ? Json(source) : Json::array())
      if (each.is_object() && each.contains("template") && each.contains("name") && each["name"] == "default")
        source = each["template"];
  }
  std::string name = settings.string() + ", chat_template";
  if (may_exist(file)) {
    const MappedFile text(file);
    name = file.string();
    source = std::string(text.text());
  }
  if (!source.is_string())
    fail(directory.string(),
         " has no chat template: neither a chat_template.jinja nor one in tokenizer_config.json");
  variables["messages"] = messages;
  variables["add_generation_prompt"] = true;
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  return ChatTemplate(source.get_ref<const std::string&>(), name)(variables);
}

}  // namespace midus
