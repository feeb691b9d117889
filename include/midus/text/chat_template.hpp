// Chat templates: the part of Jinja that they use. What is beyond it is refused by name.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/text/template_expression.hpp"

namespace midus {

/// A template such as those of tokenizer_config.json, with the settings of transformers: a line feed behind a
/// block goes, and blanks before one. Text, {{ }}, and the statements set, if, for, break and continue.
class ChatTemplate {
 public:
  /// `name` is what errors call it. Throws `Error` where a tag has no end.
  explicit ChatTemplate(std::string_view source, std::string name = "the chat template")
      : name_(std::move(name)) {
    if (source.ends_with('\n')) source.remove_suffix(1);
    bool strip = false, feed = false;  // what the tag before takes of the text behind it
    bool line = true;                  // the text begins a line
    for (std::size_t at = 0; at < source.size();) {
      std::size_t tag = at;
      while ((tag = source.find('{', tag)) != source.npos && !is_tag(source.substr(tag))) ++tag;
      std::string text(source.substr(at, tag == source.npos ? source.npos : tag - at));
      const std::size_t taken = strip  ? std::min(text.find_first_not_of(" \t\n\r"), text.size())
                                : feed ? static_cast<std::size_t>(text.starts_with('\n'))
                                       : 0;
      line = line || (taken > 0 && text[taken - 1] == '\n');
      text.erase(0, taken);
      strip = feed = false;
      if (tag == source.npos) {
        parts_.push_back({Kind::text, text});
        break;
      }
      const char kind = source[tag + 1];
      const char close = kind == '{' ? '}' : kind;
      const std::size_t end = end_of_tag(source, tag + 2, close);
      std::string_view body = source.substr(tag + 2, end - tag - 2);
      const bool kept = body.starts_with('+');
      if (body.starts_with('-'))
        text.erase(text.find_last_not_of(" \t\n\r") + 1);
      else if (kind != '{' && !kept)
        strip_indentation(text, line);
      line = false;
      if (body.starts_with('-') || kept) body.remove_prefix(1);
      strip = body.ends_with('-');
      feed = kind != '{' && !strip && !body.ends_with('+');
      if (body.ends_with('-') || (kind != '{' && body.ends_with('+'))) body.remove_suffix(1);
      parts_.push_back({Kind::text, text});
      if (kind != '#') parts_.push_back({kind == '{' ? Kind::output : Kind::statement, std::string(body)});
      at = end + 2;
    }
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
  };

  static bool is_tag(std::string_view at) {
    return at.size() > 1 && (at[1] == '{' || at[1] == '%' || at[1] == '#');
  }
  std::size_t end_of_tag(std::string_view source, std::size_t at, char close) const {
    char quote = 0;
    for (; at + 1 < source.size(); ++at) {
      const char c = source[at];
      if (quote != 0 && c == '\\')
        ++at;
      else if (quote != 0)
        quote = c == quote ? '\0' : quote;
      else if (close != '#' && (c == '\'' || c == '"'))
        quote = c;
      else if (c == close && source[at + 1] == '}')
        return at;
    }
    fail(name_, ": a tag {", std::string(1, close == '}' ? '{' : close), " has no end");
  }
  static void strip_indentation(std::string& text, bool line) {
    const std::size_t last = text.find_last_not_of(" \t");
    if (last == text.npos ? line : text[last] == '\n') text.erase(last + 1);
  }

  struct Run : detail::TemplateExpressions {
    Run(const ChatTemplate& chat, const Json& variables) : of(chat) {
      name = chat.name_;
      scopes.emplace_back();
      for (auto item = variables.begin(); item != variables.end(); ++item) scopes[0][item.key()] = *item;
    }

    const ChatTemplate& of;
    std::string out;
    int steps = 0;
    enum class Flow { on, again, out } flow = Flow::on;

    void parts(std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end && flow == Flow::on; ++i) {
        const Part& part = of.parts_[i];
        if (++steps > 100'000 || out.size() > (std::size_t{16} << 20)) fail(of.name_, " makes too much");
        if (part.kind == Kind::text) out += part.body;
        if (part.kind == Kind::output) out += string(all(part.body)), check();
        if (part.kind == Kind::statement) i = statement(i, end);
      }
    }
    static std::string keyword(std::string_view body) {
      const std::size_t begin = std::min(body.find_first_not_of(" \t\n\r"), body.size());
      std::size_t end = begin;
      while (end < body.size() && (std::isalnum(static_cast<unsigned char>(body[end])) || body[end] == '_'))
        ++end;
      return std::string(body.substr(begin, end - begin));
    }
    /// The parts of a block that begin its branches, its end last.
    std::vector<std::size_t> branches(std::size_t at, std::size_t end, const std::string& block) const {
      std::vector<std::size_t> found{at};
      int inside = 0;
      for (std::size_t i = at + 1; i < end; ++i) {
        if (of.parts_[i].kind != Kind::statement) continue;
        const std::string word = keyword(of.parts_[i].body);
        if (inside == 0 && (word == "elif" || word == "else" || word == "end" + block)) found.push_back(i);
        if (word == "if" || word == "for") ++inside;
        if ((word == "endif" || word == "endfor") && inside-- == 0) return found;
      }
      fail(of.name_, ": {% ", block, " %} has no end");
    }
    std::size_t statement(std::size_t at, std::size_t end) {
      in = of.parts_[at].body;
      const std::string word = identifier();
      if (word == "set") return set(), at;
      if (word == "break" || word == "continue") return flow = word == "break" ? Flow::out : Flow::again, at;
      if (word == "generation" || word == "endgeneration") return at;
      if (word == "for") return loop(at, end);
      if (word != "if") refuse("{% " + word + " %}");
      const std::vector<std::size_t> branch = branches(at, end, "if");
      for (std::size_t b = 0; b + 1 < branch.size(); ++b) {
        in = of.parts_[branch[b]].body;
        if (identifier() == "else" || truth(all(in))) {
          parts(branch[b] + 1, branch[b + 1]);
          break;
        }
      }
      return branch.back();
    }
    void set() {
      const std::string variable = identifier(), member = take(".") ? identifier() : "";
      if (!take("=")) refuse("{% set %} without a value");
      Json value = all(in);
      if (member.empty())
        scopes.back()[variable] = std::move(value);
      else if (Json* const space = find(variable))
        (*space)[member] = std::move(value);
    }
    std::size_t loop(std::size_t at, std::size_t end) {
      const std::vector<std::size_t> branch = branches(at, end, "for");
      std::vector<std::string> names{identifier()};
      while (take(",")) names.push_back(identifier());
      if (!word("in")) refuse("such a {% for %}");
      const Json over = either();
      const std::string_view condition = word("if") ? in : std::string_view();
      check();
      Json items = Json::array();
      const auto bind = [&](const Json& item) {
        for (std::size_t i = 0; i < names.size(); ++i)
          scopes.back()[names[i]] = names.size() == 1 ? item : i < item.size() ? item[i] : undefined();
      };
      if (!over.is_structured() && !over.is_discarded()) refuse("a loop over what is no list");
      scopes.emplace_back();
      for (auto item = over.begin(); item != over.end() && over.is_structured(); ++item) {
        const Json value = over.is_object() ? Json(item.key()) : *item;
        bind(value);
        if (condition.empty() || truth(all(condition))) items.push_back(value);
      }
      scopes.pop_back();
      for (std::size_t i = 0; i < items.size() && flow != Flow::out; ++i) {
        scopes.emplace_back();
        bind(items[i]);
        Json& loop = scopes.back()["loop"] = {
            {"index0", i}, {"index", i + 1}, {"first", i == 0}, {"length", items.size()}};
        loop["last"] = i + 1 == items.size();
        if (i > 0) loop["previtem"] = items[i - 1];
        if (i + 1 < items.size()) loop["nextitem"] = items[i + 1];
        parts(branch[0] + 1, branch[1]);
        if (flow == Flow::again) flow = Flow::on;
        scopes.pop_back();
      }
      flow = Flow::on;
      if (items.empty() && branch.size() > 2) parts(branch[1] + 1, branch[2]);
      return branch.back();
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
  if (std::filesystem::exists(settings)) {
    const Json json = read_json_file(settings);
    for (auto item = json.begin(); item != json.end(); ++item) {
      const Json& token = item->is_object() && item->contains("content") ? (*item)["content"] : *item;
      if (item.key().ends_with("_token") && token.is_string()) variables[item.key()] = token;
    }
    if (json.contains("chat_template")) source = json["chat_template"];
    for (std::size_t i = 0; source.is_array() && i < source.size(); ++i)
      if (const Json each = source[i]; each.is_object() && each.value("name", "") == "default")
        source = each.value("template", "");
  }
  std::string name = settings.string() + ", chat_template";
  if (std::filesystem::exists(file)) {
    const MappedFile text(file);
    name = file.string();
    source = std::string(reinterpret_cast<const char*>(text.bytes().data()), text.size());
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
