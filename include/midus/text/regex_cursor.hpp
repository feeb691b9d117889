// Reads the characters and classes of a regular expression as Oniguruma does.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/text/regex_classes.hpp"
#include "midus/text/utf8.hpp"

namespace midus::detail {

/// A class in brackets.
struct ClassSet {
  CharacterClass own;  // what `negated` is of
  bool plain = true;   // the text says all
  bool negated = false;
};

/// A place in a pattern; what is read of it begins there, and the place moves behind it.
class RegexCursor {
 protected:
  explicit RegexCursor(std::string_view pattern) : in_(pattern) {}

  char peek(std::size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool next_is(std::string_view text) const { return in_.substr(at_, text.size()) == text; }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static void expect_small(const std::string& text) {
    if (text.size() > 4 << 20) fail("it is too large");  // PCRE2 would refuse it too
  }

  /// The name of the class that an escape stands for ("^L": what is not in L), and behind it; nothing, and no
  /// step forward, where it stands for none.
  std::optional<std::string> named_class() {
    const char c = peek(1);
    const auto named = [&](const std::string& name, bool negated, std::size_t length) {
      at_ += length;
      return (negated ? "^" : "") + name;
    };
    if (c == 's' || c == 'S') return named("space", c == 'S', 2);
    if (c == 'd' || c == 'D') return named("Nd", c == 'D', 2);
    if (c == 'w' || c == 'W') return named("word", c == 'W', 2);
    if (c == 'h' || c == 'H') return named("xdigit", c == 'H', 2);
    if ((c != 'p' && c != 'P') || peek(2) != '{') return std::nullopt;  // \pL is "pL" to `tokenizers`
    const std::size_t end = in_.find('}', at_);
    if (end == in_.npos) fail("the class \\p{ has no end");
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    const bool circumflex = !name.empty() && name[0] == '^';
    if (circumflex) name.remove_prefix(1);
    return named(property_key(name), (c == 'P') != circumflex, end + 1 - at_);
  }

  /// One character, escaped or not.
  char32_t character(bool in_class = false) {
    if (in_[at_] != '\\') {
      const Utf8Character c = first_character(in_.substr(at_));
      at_ += c.bytes;
      return c.value;
    }
    const char c = peek(1);
    if (at_ + 1 >= in_.size()) fail("the pattern ends in a backslash");
    if (c == 'x' || c == 'u') return number(c);
    constexpr std::string_view letters = "rntfaev", controls = "\r\n\t\f\a\x1b\v";
    if (const std::size_t found = letters.find(c); found != letters.npos)
      return at_ += 2, static_cast<char32_t>(controls[found]);
    if (c == 'b' && in_class) return at_ += 2, U'\b';
    if (c == '0') {  // and up to two octal digits
      char32_t value = 0;
      std::size_t end = at_ + 2;
      for (; end < at_ + 4 && end < in_.size() && in_[end] >= '0' && in_[end] <= '7'; ++end)
        value = 8 * value + static_cast<char32_t>(in_[end] - '0');
      at_ = end;
      return value;
    }
    if (std::isalnum(static_cast<unsigned char>(c)))
      fail("the escape ", in_quotes(std::string("\\") + c), " is not supported");
    ++at_;
    const Utf8Character self = first_character(in_.substr(at_));
    at_ += self.bytes;
    return self.value;
  }

  /// \xHH (bytes: several may make a character), \x{H...}, \uHHHH.
  char32_t number(char kind) {
    const auto digits = [&](std::size_t begin, std::size_t most) {
      std::size_t end = begin;
      while (end < in_.size() && end - begin < most && std::isxdigit(static_cast<unsigned char>(in_[end])))
        ++end;
      return in_.substr(begin, end - begin);
    };
    const auto value = [](std::string_view hex) {
      return static_cast<char32_t>(std::stoul(std::string(hex), nullptr, 16));
    };
    const bool braces = kind == 'x' && peek(2) == '{';
    const std::string_view hex = digits(at_ + (braces ? 3 : 2), braces ? 8 : kind == 'x' ? 2 : 4);
    const std::size_t end = at_ + (braces ? 3 : 2) + hex.size();
    if (hex.empty() || (kind == 'u' && hex.size() != 4) || (braces && (end >= in_.size() || in_[end] != '}')))
      fail("expected hexadecimal digits after \\", std::string(1, kind));
    if (kind == 'u' || braces) {
      at_ = end + (braces ? 1 : 0);
      const char32_t c = value(hex);
      if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        fail("there is no character \\", std::string(1, kind), hex);
      return c;
    }
    std::string bytes;
    while (next_is("\\x") && peek(2) != '{' && !digits(at_ + 2, 2).empty()) {
      const std::string_view next = digits(at_ + 2, 2);
      bytes += static_cast<char>(static_cast<unsigned char>(value(next)));
      at_ += 2 + next.size();
      const Utf8Character c = first_character(bytes);
      if (c.valid) return c.value;
      if (unfinished_bytes(bytes) != bytes.size()) break;
    }
    fail("\\x", hex, " is a byte, and no character with those behind it: write \\x{...} for a character");
  }

  // Classes in brackets.

  /// Behind the [, up to and with the ].
  ClassSet class_set(int depth) {
    if (depth > 32) fail("classes more than 32 deep in one another are not supported");
    ClassSet set;
    set.negated = peek() == '^';
    if (set.negated) ++at_;
    std::optional<CodePointRanges> left;  // of &&
    bool first = true;                    // of what && joins
    if (peek() == ']') {                  // stands for itself where another ] ends the class
      if (in_.find(']', at_ + 1) == in_.npos) fail("an empty class in brackets is not supported");
      ++at_;
      add_range(set.own, ']', ']');
      first = false;
    }
    const auto join = [&] {
      CodePointRanges right = united(std::move(set.own.ranges));
      left = left ? difference(*left, complement(right)) : std::move(right);
      set.own = {};
    };
    while (peek() != ']') {
      if (at_ >= in_.size()) fail("a class in brackets has no end");
      if (next_is("&&")) {
        join();
        set.plain = false;
        at_ += 2;
        first = true;
        continue;
      }
      class_item(set, std::exchange(first, false), depth);
      expect_small(set.own.text);
      if (set.own.ranges.size() > 1 << 16) set.own.ranges = united(std::move(set.own.ranges));
    }
    ++at_;
    if (left) {
      join();
      set.own.ranges = *std::move(left);
    }
    return set;
  }

  void class_item(ClassSet& set, bool first, int depth) {
    if (next_is("[:") && posix(set.own)) return expect_no_range();
    if (peek() == '[') {
      ++at_;
      const ClassSet inner = class_set(depth + 1);
      CodePointRanges ranges = united(inner.own.ranges);
      if (inner.negated) ranges = complement(ranges);
      set.plain = set.plain && inner.plain && !inner.negated;
      add(set.own, {inner.own.text, std::move(ranges)});
      if (peek() == '-' && peek(1) != ']') add_range(set.own, '-', '-'), ++at_;
      return;
    }
    if (peek() == '\\')
      if (const std::optional<std::string> name = named_class()) {
        add(set.own, unicode_class(*name));
        return expect_no_range();
      }
    const bool hyphen = peek() == '-';
    const char32_t low = character(true);
    char32_t high = low;
    if (peek() == '-' && peek(1) != ']' && !next_is("-&&") && (first || !hyphen)) {
      ++at_;
      if (at_ >= in_.size()) fail("a class in brackets has no end");
      if (peek() == '[' || (peek() == '\\' && named_class())) fail("a range in brackets ends in a class");
      high = character(true);
      if (high < low) fail("a range in brackets ends before it begins");
      if (peek() == '-' && peek(1) != ']') add_range(set.own, '-', '-'), ++at_;  // a-c-e: three
    }
    add_range(set.own, low, high);
  }
  /// Behind a class a range would begin with it, which Oniguruma does not take either.
  void expect_no_range() const {
    if (peek() == '-' && peek(1) != ']' && !next_is("-&&")) fail("a range in brackets begins with a class");
  }
  /// [:alpha:] or [:^alpha:]; false where it is not one.
  bool posix(CharacterClass& own) {
    std::size_t end = at_ + 2;
    if (end < in_.size() && in_[end] == '^') ++end;
    const std::size_t begin = end;
    while (end < in_.size() && std::isalpha(static_cast<unsigned char>(in_[end]))) ++end;
    if (in_.substr(end, 2) != ":]") return false;
    const std::string name(in_.substr(begin, end - begin));
    constexpr std::string_view known[] = {"alnum", "alpha", "blank", "cntrl", "digit",  "graph", "lower",
                                          "print", "punct", "space", "upper", "xdigit", "ascii", "word"};
    if (std::find(std::begin(known), std::end(known), name) == std::end(known))
      fail("there is no class [:", name, ":]");
    add(own,
        unicode_class((begin > at_ + 2 ? "^" : "") + (name == "punct" ? "[:punct:]" : property_key(name))));
    at_ = end + 2;
    return true;
  }
  static void add(CharacterClass& own, const CharacterClass& more) {
    own.text += more.text;
    own.ranges.insert(own.ranges.end(), more.ranges.begin(), more.ranges.end());
  }
  static void add_range(CharacterClass& own, char32_t first, char32_t last) {
    add(own, {class_text({{first, last}}), {{first, last}}});
  }

  std::string_view in_;
  std::size_t at_ = 0;
};

}  // namespace midus::detail
