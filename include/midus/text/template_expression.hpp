// Expressions of chat templates: the part of Jinja's that they use.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"
#include "midus/text/template_values.hpp"

namespace midus::detail {

/// Reads and evaluates expressions from left to right.
struct TemplateExpressions : TemplateValues {
  std::vector<std::map<std::string, Json>> scopes;  // of variables, the innermost last
  std::string_view in;                              // what is left to read
  int depth = 0;

  /// A whole expression. Throws what went wrong in it.
  Json all(std::string_view expression) {
    in = expression;
    Json value = ternary();
    skip();
    if (!in.empty()) refuse(text("what begins with ", in_quotes(in, 40)));
    check();
    return value;
  }

  void skip() { in.remove_prefix(std::min(in.find_first_not_of(" \t\n\r"), in.size())); }
  bool take(std::string_view symbol) {
    skip();
    if (!in.starts_with(symbol)) return false;
    in.remove_prefix(symbol.size());
    return true;
  }
  void expect(std::string_view symbol) {
    if (!take(symbol)) refuse(text("an expression without ", symbol, " before ", in_quotes(in, 40)));
  }
  /// A name, which may be empty.
  std::string identifier() {
    skip();
    std::size_t end = 0;
    while (end < in.size() && (std::isalnum(static_cast<unsigned char>(in[end])) || in[end] == '_')) ++end;
    const std::string found(in.substr(0, end));
    in.remove_prefix(end);
    return found;
  }
  bool word(std::string_view wanted) {
    const std::string_view before = in;
    if (identifier() == wanted) return true;
    in = before;
    return false;
  }
  Json* find(const std::string& variable) {
    for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope)
      if (const auto found = scope->find(variable); found != scope->end()) return &found->second;
    return nullptr;
  }

  struct Deeper {
    explicit Deeper(TemplateExpressions& of) : depth(of.depth) {
      if (++depth > 300) fail(of.name, ": an expression is nested too deeply");
    }
    ~Deeper() { --depth; }
    int& depth;
  };

  // From what binds least to what binds most.
  Json ternary() {
    const Deeper deeper(*this);
    const std::optional<std::string> before = error;
    Json value = either();
    if (word("if")) {
      const std::optional<std::string> of_value = std::exchange(error, before);
      const bool wanted = truth(either());
      if (wanted && !error) error = of_value;
      const std::optional<std::string> so_far = error;
      Json other = word("else") ? ternary() : undefined();
      if (wanted)
        error = so_far;
      else
        value = std::move(other);
    }
    return value;
  }
  Json either() {
    Json value = both();
    while (word("or")) value = second(std::move(value), false, [&] { return both(); });
    return value;
  }
  Json both() {
    Json value = negated();
    while (word("and")) value = second(std::move(value), true, [&] { return negated(); });
    return value;
  }
  template <class F>
  Json second(Json first, bool wanted, F&& f) {
    const std::optional<std::string> before = error;
    Json other = f();
    if (truth(first) == wanted) return other;
    error = before;
    return first;
  }
  Json negated() {
    const Deeper deeper(*this);
    if (!word("not")) return compared();
    return !truth(negated());
  }
  Json compared() {
    Json left = sum();
    while (true) {
      const std::string_view before = in;
      if (take("=="))
        left = left == sum();
      else if (take("!="))
        left = !(left == sum());
      else if (take("<="))
        left = !less(sum(), left);
      else if (take(">="))
        left = !less(left, sum());
      else if (take("<"))
        left = less(left, sum());
      else if (take(">"))
        left = less(sum(), left);
      else if (word("in"))
        left = holds(sum(), left);
      else if (word("not") && word("in"))
        left = !holds(sum(), left);
      else
        return in = before, left;
    }
  }
  Json sum() {
    Json left = joined();
    while (true) {
      if (take("+"))
        left = added(std::move(left), joined());
      else if (!in.starts_with("-}") && take("-"))
        left = counted(left, joined(), '-');
      else
        return left;
    }
  }
  Json joined() {
    Json left = product();
    while (take("~")) {
      const Json right = product();
      left = string(left) + string(right);
    }
    return left;
  }
  Json product() {
    Json left = unary();
    while (true) {
      if (take("*"))
        left = counted(left, unary(), '*');
      else if (take("//"))
        left = counted(left, unary(), '/');
      else if (!in.starts_with("%}") && take("%"))
        left = counted(left, unary(), '%');
      else
        return left;
    }
  }
  Json unary() {
    const Deeper deeper(*this);
    if (take("-")) return counted(0, unary(), '-');
    return behind(primary());
  }

  Json primary() {
    skip();
    if (in.starts_with('\'') || in.starts_with('"')) return literal();
    if (take("(")) {
      Json value = ternary();
      expect(")");
      return value;
    }
    if (take("[")) return list("]");
    if (take("{")) {
      Json object = Json::object();
      while (!take("}")) {
        const std::string key = string(ternary());
        expect(":");
        object[key] = ternary();
        take(",");
      }
      return object;
    }
    const std::string word = identifier();
    if (word.empty()) refuse(text("an expression that begins with ", in_quotes(in, 40)));
    if (std::isdigit(static_cast<unsigned char>(word[0]))) {
      if (word.size() > 9 || word.find_first_not_of("0123456789") != word.npos) refuse("the number " + word);
      return std::stol(word);
    }
    if (word == "true" || word == "True") return true;
    if (word == "false" || word == "False") return false;
    if (word == "none" || word == "None") return nullptr;
    if (const Json* const known = find(word)) return *known;
    if (take("(")) return function(word);
    return undefined();
  }
  Json literal() {
    const char quote = in[0];
    std::string value;
    std::size_t at = 1;
    for (; at < in.size() && in[at] != quote; ++at) {
      if (in[at] != '\\' || at + 1 == in.size()) {
        value += in[at];
        continue;
      }
      const char c = in[++at];
      value += c == 'n' ? "\n" : c == 't' ? "\t" : c == 'r' ? "\r" : std::string(1, c);
    }
    if (at == in.size()) refuse("a text without an end");
    in.remove_prefix(at + 1);
    return value;
  }
  Json list(std::string_view end) {
    Json items = Json::array();
    while (!take(end)) {
      items.push_back(ternary());
      if (!take(",") && !in.starts_with(end)) refuse(text("a list with ", in_quotes(in, 40)));
    }
    return items;
  }
  /// Arguments up to the closing parenthesis: those with names in an object, the others in a list.
  std::pair<Json, Json> arguments() {
    Json values = Json::array(), named = Json::object();
    while (!take(")")) {
      const std::string_view before = in;
      const std::string key = identifier();
      if (!key.empty() && take("=") && !in.starts_with('=')) {
        named[key] = ternary();
      } else {
        in = before;
        values.push_back(ternary());
      }
      if (!take(",") && !in.starts_with(')')) refuse(text("a call with ", in_quotes(in, 40)));
    }
    return {values, named};
  }
  Json function(const std::string& called) {
    const auto [values, named] = arguments();
    if (called == "raise_exception") return raise(values.empty() ? "it raises an error" : string(values[0]));
    if (called == "namespace" || called == "dict") return named;
    if (called == "range" && !values.empty()) {
      const Index begin = values.size() > 1 && values[0].is_number_integer() ? values[0].get<Index>() : 0;
      const Json& last = values[values.size() > 1 ? 1 : 0];
      Json items = Json::array();
      for (Index i = begin; last.is_number_integer() && i < last.get<Index>() && i < begin + 10'000; ++i)
        items.push_back(i);
      return items;
    }
    if (called == "strftime_now" && values.size() == 1) {
      const std::time_t now = std::time(nullptr);
      std::tm parts{};
      char out[256];
      return std::string(
          out, std::strftime(out, sizeof out, string(values[0]).c_str(), localtime_r(&now, &parts)));
    }
    refuse("the function " + called);
  }

  /// What stands behind a value: members, calls, filters and tests.
  Json behind(Json value) {
    while (true) {
      if (take(".")) {
        const std::string member = identifier();
        value = take("(") ? method(value, member, arguments().first) : at(value, member);
      } else if (take("[")) {
        value = subscript(value);
      } else if (take("|")) {
        const std::string filter = identifier();
        Json values = Json::array(), named = Json::object();
        if (in.starts_with('(')) in.remove_prefix(1), std::tie(values, named) = arguments();
        if (!named.empty()) refuse("the filter " + filter + " with " + named.begin().key());
        value = filtered(value, filter, values);
      } else if (word("is")) {
        const bool negated = word("not");
        value = tested(value, identifier()) != negated;
      } else {
        return value;
      }
    }
  }
  Json subscript(const Json& value) {
    const Json first = in.starts_with(':') ? undefined() : ternary();
    if (!take(":")) return expect("]"), at(value, first);
    skip();
    const Json last = in.starts_with(']') ? undefined() : ternary();
    expect("]");
    return part(value, first, last);
  }
};

}  // namespace midus::detail
