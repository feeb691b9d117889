// Expressions of chat templates: the part of Jinja's that they use.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"
#include "midus/text/template_calls.hpp"
#include "midus/text/utf8.hpp"

namespace midus::detail {

/// Reads and evaluates expressions from left to right.
struct TemplateExpressions : TemplateCalls {
  std::vector<std::map<std::string, Json>> scopes;  // of variables, the innermost last
  std::string_view in;                              // what is left to read
  int depth = 0;

  /// A whole expression. Throws what went wrong in it.
  Json all(std::string_view expression) {
    charge(expression.size());
    in = expression;
    Json value = ternary();
    finish();
    return value;
  }
  void finish() {
    skip();
    if (!in.empty()) refuse(text("what begins with ", in_quotes(in, 40)));
    check();
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
      if (++depth > 300) fail(of.name, ": it is nested too deeply");
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
    for (bool again = false;; again = true) {
      const std::string_view before = in;
      Json found;
      if (take("=="))
        found = same(left, sum());
      else if (take("!="))
        found = !same(left, sum());
      else if (take("<="))
        found = !less(sum(), left);
      else if (take(">="))
        found = !less(left, sum());
      else if (take("<"))
        found = less(left, sum());
      else if (take(">"))
        found = less(sum(), left);
      else if (word("in"))
        found = among(sum(), left);
      else if (word("not") && word("in"))
        found = !among(sum(), left);
      else
        return in = before, left;
      if (again) refuse("a comparison of a comparison");
      left = std::move(found);
    }
  }
  bool same(const Json& a, const Json& b) { return charge(weight(a) + weight(b)), equal(a, b); }
  bool among(const Json& all, const Json& one) { return charge(weight(all)), holds(all, one); }
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
      left = added(string(left), string(right));
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
  /// A filter or a test behind `-x` is one of the whole.
  Json unary(bool filters = true) {
    const Deeper deeper(*this);
    if (!take("-")) return primary(filters);
    Json value = counted(0, unary(false), '-');
    return behind(nullptr, std::move(value), filters);
  }

  Json primary(bool filters) {
    const std::string_view before = (skip(), in);
    if (const std::string word = identifier(); !word.empty())
      if (const Json* const known = find(word)) return behind(known, {}, filters);
    in = before;
    return behind(nullptr, made_here(), filters);
  }
  /// What begins an expression and is no variable.
  Json made_here() {
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
        const Json key = ternary();
        if (!key.is_string()) refuse("a key that is no text");
        expect(":");
        put(object, key.get_ref<const std::string&>(), ternary());
        if (!take(",") && !in.starts_with('}')) refuse(text("an object with ", in_quotes(in, 40)));
      }
      return object;
    }
    std::string word = identifier();
    if (word.empty()) refuse(text("an expression that begins with ", in_quotes(in, 40)));
    if (std::isdigit(static_cast<unsigned char>(word[0]))) return number_of(std::move(word));
    if (word == "true" || word == "True") return true;
    if (word == "false" || word == "False") return false;
    if (word == "none" || word == "None") return nullptr;
    if (take("(")) {
      const auto [values, named] = arguments();
      return function(word, values, named);
    }
    return is_function(word) ? a_function() : undefined();
  }
  Json number_of(std::string digits) {
    if (in.starts_with('.')) in.remove_prefix(1), digits += '.' + identifier();
    const Json value = digits.find_first_not_of("0123456789.") == digits.npos && digits.size() < 16
                           ? Json::parse(digits, nullptr, false)
                           : undefined();
    if (value.is_discarded() || (value.is_number_integer() && digits.size() > 9))
      refuse("the number " + digits);
    return value.is_number_float() ? value : Json(value.get<Index>());
  }
  Json literal() {
    const char quote = in[0];
    std::string value;
    for (in.remove_prefix(1); !in.empty() && in[0] != quote;) {
      const char c = in[0];
      in.remove_prefix(1);
      if (c == '\\' && !in.empty())
        escape(value);
      else
        value += c;
    }
    if (in.empty()) refuse("a text without an end");
    in.remove_prefix(1);
    return value;
  }
  /// What stands behind a backslash, as Python reads it.
  void escape(std::string& value) {
    constexpr std::string_view names = "ntrabfv\\'\"", meant = "\n\t\r\a\b\f\v\\'\"";
    const char c = in[0];
    if (const std::size_t i = names.find(c); i != names.npos)
      value += meant[i];
    else if (c == 'x' || c == 'u' || c == 'U')
      return in.remove_prefix(1), append_utf8(value, code(c == 'x' ? 2 : c == 'u' ? 4 : 8, 16));
    else if (c >= '0' && c <= '7')
      return append_utf8(value, code(std::min<std::size_t>(3, in.find_first_not_of("01234567")), 8));
    else if (c == 'N')
      refuse("a character by its name");
    else if (c != '\n')
      (value += '\\') += c;
    in.remove_prefix(1);
  }
  char32_t code(std::size_t digits, char32_t base) {
    char32_t value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const auto c = static_cast<unsigned char>(i < in.size() ? in[i] : ' ');
      if (!std::isxdigit(c)) refuse(text("the character's number ", in_quotes(in.substr(0, digits))));
      value = value * base + static_cast<char32_t>(std::isdigit(c) ? c - '0' : std::tolower(c) - 'a' + 10);
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
      refuse(text("the character's number ", in_quotes(in.substr(0, digits))));
    in.remove_prefix(digits);
    return value;
  }
  Json list(std::string_view end) {
    Json items = Json::array();
    while (!take(end)) {
      items.push_back(charged(ternary()));
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
        put(named, key, ternary());
      } else {
        in = before;
        values.push_back(charged(ternary()));
      }
      if (!take(",") && !in.starts_with(')')) refuse(text("a call with ", in_quotes(in, 40)));
    }
    return {values, named};
  }

  /// What stands behind a value: members, calls, filters and tests. The value is `place`, or else `own`: only
  /// what is left in the end is copied, since a chat may be long.
  Json behind(const Json* place, Json own, bool filters) {
    const auto now = [&]() -> const Json& { return place != nullptr ? *place : own; };
    const auto becomes = [&](Json value) { own = std::move(value), place = nullptr; };
    const auto step = [&](const Json& key) {
      const Json* const found = place != nullptr ? member(*place, key) : nullptr;
      found != nullptr ? static_cast<void>(place = found) : becomes(at(now(), key));
    };
    while (true) {
      if (take(".")) {
        const std::string called = identifier();
        if (!take("(")) {
          step(called);
          continue;
        }
        const auto [values, named] = arguments();
        if (!named.empty()) refuse("the method " + called + " with " + named.begin().key());
        becomes(method(now(), called, values));
      } else if (take("[")) {
        const Json first = bound();
        if (take("]"))
          step(first);
        else
          becomes(slice(now(), first));
      } else if (filters && take("|")) {
        const std::string filter = identifier();
        std::pair<Json, Json> given(Json::array(), Json::object());
        if (in.starts_with('(')) in.remove_prefix(1), given = arguments();
        if (!given.second.empty()) refuse("the filter " + filter + " with " + given.second.begin().key());
        becomes(filtered(now(), filter, given.first));
      } else if (filters && word("is")) {
        const bool negated = word("not");
        becomes(tested(now(), identifier()) != negated);
      } else {
        if (place != nullptr) return charged(*place);
        return own;
      }
    }
  }
  /// A part of a subscript, null where it is not there.
  Json bound() {
    skip();
    return in.starts_with(':') || in.starts_with(']') ? Json() : ternary();
  }
  Json slice(const Json& value, const Json& first) {
    expect(":");
    const Json last = bound(), step = take(":") ? bound() : Json();
    expect("]");
    return part(value, first, last, step);
  }
};

}  // namespace midus::detail
