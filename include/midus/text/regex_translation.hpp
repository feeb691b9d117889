// Regular expressions of tokenizer.json in the language of PCRE2.
//
// They are written for Oniguruma. Both libraries agree on what such files use; what they read differently is
// translated or refused by name, and the Unicode classes are made those of `tokenizers` (unicode.hpp).
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/text/unicode.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

namespace detail {

struct Pcre2Free {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

inline std::string pcre2_message(int code) {
  PCRE2_UCHAR message[256];
  pcre2_get_error_message(code, message, sizeof message);
  return reinterpret_cast<const char*>(message);
}

/// A compiled pattern, in PCRE2's own language.
inline std::shared_ptr<const pcre2_code> compile_pcre2(std::string_view pattern) {
  int error = 0;
  PCRE2_SIZE at = 0;
  constexpr std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                                    PCRE2_NO_AUTO_CAPTURE | PCRE2_USE_OFFSET_LIMIT;
  const std::shared_ptr<pcre2_code> code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                                                       pattern.size(), options, &error, &at, nullptr),
                                         Pcre2Free());
  if (!code) fail(pcre2_message(error), " at character ", at);
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where it cannot, the pattern is interpreted
  return code;
}

/// The code points that PCRE2's class `[...]` has, of all there are.
inline CodePointRanges ranges_of_pcre2(const std::string& one_class) {
  static const std::string all = [] {
    std::string text;
    for (char32_t c = 0; c <= 0x10FFFF; ++c)
      if (c < 0xD800 || c > 0xDFFF) append_utf8(text, c);
    return text;
  }();
  const auto code = compile_pcre2(one_class + "+");
  const std::unique_ptr<pcre2_match_data, Pcre2Free> data(
      pcre2_match_data_create_from_pattern(code.get(), nullptr));
  CodePointRanges ranges;
  for (std::size_t at = 0; at < all.size();) {
    const int result = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(all.data()), all.size(), at,
                                   PCRE2_NO_UTF_CHECK, data.get(), nullptr);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) fail(pcre2_message(result));
    const PCRE2_SIZE* const found = pcre2_get_ovector_pointer(data.get());
    std::size_t last = found[1] - 1;
    while ((static_cast<unsigned char>(all[last]) & 0xC0) == 0x80) --last;
    const std::string_view text = all;
    ranges.emplace_back(first_character(text.substr(found[0])).value,
                        first_character(text.substr(last)).value);
    at = found[1];
  }
  return ranges;
}

/// What of `a` is not in `b`. Surrogates, which never occur, count for nothing.
inline CodePointRanges difference(const CodePointRanges& a, const CodePointRanges& b) {
  CodePointRanges out;
  const auto add = [&](char32_t first, char32_t last) {
    if (first <= 0xDFFF && last >= 0xD800) {
      if (first < 0xD800) out.emplace_back(first, char32_t{0xD7FF});
      if (last > 0xDFFF) out.emplace_back(char32_t{0xE000}, last);
    } else {
      out.emplace_back(first, last);
    }
  };
  auto other = b.begin();
  for (auto [first, last] : a) {
    while (other != b.end() && other->second < first) ++other;
    for (auto next = other; next != b.end() && next->first <= last && first <= last; ++next) {
      if (next->first > first) add(first, next->first - 1);
      first = next->second + 1;
    }
    if (first <= last) add(first, last);
  }
  return out;
}

inline std::string class_text(const CodePointRanges& ranges) {
  std::string out;
  for (const auto& [first, last] : ranges) {
    char range[48];
    std::snprintf(range, sizeof range, "\\x{%X}-\\x{%X}", static_cast<unsigned>(first),
                  static_cast<unsigned>(last));
    out += range;
  }
  return out;
}

/// What stands in brackets for a class of ours: PCRE2's own class and what it lacks; where that has too much,
/// all ranges.
inline std::string class_for_pcre2(const std::string& own, const CodePointRanges& wanted) {
  const CodePointRanges found = ranges_of_pcre2("[" + own + "]");
  if (!difference(found, wanted).empty()) return class_text(wanted);
  return own + class_text(difference(wanted, found));
}

/// The text in brackets for "L", "Nd" or "s" (white space), and for what is not in the class ("^L"); made
/// once.
inline const std::string& unicode_class(const std::string& name) {
  static std::map<std::string, std::string> known;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  const bool negated = name[0] == '^';
  const std::string plain = negated ? name.substr(1) : name;
  const CodePointRanges ranges = plain == "s" ? white_space_ranges() : category_ranges(plain);
  if (ranges.empty()) fail("there is no Unicode category ", in_quotes(plain));
  if (negated) return known[name] = class_text(difference({{0, 0x10FFFF}}, ranges));
  return known[name] = class_for_pcre2(plain == "s" ? "\\s" : "\\p{" + plain + "}", ranges);
}

/// Oniguruma's pattern in PCRE2's language.
class RegexTranslation {
 public:
  explicit RegexTranslation(std::string_view pattern) : in_(pattern) {
    while (at_ < in_.size()) outside();
  }
  const std::string& text() const { return out_; }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool next_is(std::string_view text) const { return in_.substr(at_, text.size()) == text; }
  void copy(std::size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
  }

  void outside() {
    if (in_[at_] == '\\') return escape(false);
    if (in_[at_] == '[') return brackets();
    if (next_is("(?")) {
      for (const std::string_view known :
           {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:", "(?i)", "(?-i)"})
        if (next_is(known)) return copy(known.size());
      fail("the group ", in_quotes(std::string(in_.substr(at_, 4))), " is not supported");
    }
    if (next_is("(*")) fail("expected a group, found \"(*\"");
    if (in_[at_] == '{') return interval();
    copy(1);
  }

  /// {n}, {n,}, {n,m}, and Oniguruma's {,m}; any other brace stands for itself.
  void interval() {
    std::size_t end = at_ + 1;
    while (end < in_.size() && (std::isdigit(static_cast<unsigned char>(in_[end])) || in_[end] == ',')) ++end;
    const std::string_view inner = in_.substr(at_ + 1, end - at_ - 1);
    const auto commas = std::count(inner.begin(), inner.end(), ',');
    if (end >= in_.size() || in_[end] != '}' || inner.empty() || inner == "," || commas > 1) {
      out_ += "\\{";
      ++at_;
      return;
    }
    out_ += inner[0] == ',' ? "{0" : "{";
    out_ += std::string(inner) + "}";
    at_ = end + 1;
    if (peek() == '+') fail("an interval followed by + is not supported");  // greedy there, possessive here
  }

  void brackets() {
    copy(1);
    if (peek() == '^') copy(1);
    if (peek() == ']') fail("an empty class in brackets is not supported");
    while (peek() != ']') {
      if (at_ >= in_.size()) fail("a class in brackets has no end");
      if (in_[at_] == '\\')
        escape(true);
      else if (in_[at_] == '[')
        fail("a class inside a class is not supported");
      else if (next_is("&&"))
        fail("&& in a class is not supported");
      else
        copy(1);
    }
    copy(1);
  }

  void escape(bool in_class) {
    const char c = peek(1);
    if (c == '\0') fail("the pattern ends in a backslash");
    if (c == 'p' || c == 'P') return property(in_class);
    if (c == 's' || c == 'S') return named_class(c == 'S' ? "^s" : "s", in_class, 2);
    if (c == 'd' || c == 'D') return named_class(c == 'D' ? "^Nd" : "Nd", in_class, 2);
    if (c == 'x' || c == 'u') return number(c);
    if (c == 'v') {
      out_ += "\\x{0B}";  // vertical tabulation there, any vertical space here
      at_ += 2;
      return;
    }
    if (std::string_view("rntfae0").find(c) != std::string_view::npos) return copy(2);
    if (!in_class && (c == 'A' || c == 'z')) return copy(2);
    if (std::isalnum(static_cast<unsigned char>(c)))
      fail("the escape ", in_quotes(std::string("\\") + c), " is not supported");
    const std::size_t bytes = first_character(in_.substr(at_ + 1)).bytes;
    copy(1 + bytes);
  }

  void property(bool in_class) {
    std::size_t length = 3;
    std::string name(1, peek(2));
    bool negated = peek(1) == 'P';
    if (peek(2) == '{') {
      const std::size_t end = in_.find('}', at_);
      if (end == in_.npos) fail("the class \\p{ has no end");
      name = std::string(in_.substr(at_ + 3, end - at_ - 3));
      length = end + 1 - at_;
      if (!name.empty() && name[0] == '^') negated = !negated, name.erase(0, 1);
    }
    if (name.empty() || name.size() > 2 || category_ranges(name).empty())
      fail("the class \\p{", name, "} is not supported: known are general categories, such as L or Nd");
    named_class((negated ? "^" : "") + name, in_class, length);
  }

  void named_class(const std::string& name, bool in_class, std::size_t length) {
    if (in_class)
      out_ += unicode_class(name);
    else if (name[0] == '^')
      out_ += "[^" + unicode_class(name.substr(1)) + "]";
    else
      out_ += "[" + unicode_class(name) + "]";
    if (out_.size() > 4 << 20) fail("it is too large");  // PCRE2 would refuse it too
    at_ += length;
  }

  /// \xHH, \x{H...}, \uHHHH.
  void number(char kind) {
    std::size_t begin = at_ + 2, end = begin;
    const bool braces = kind == 'x' && peek(2) == '{';
    const std::size_t most = braces ? 8 : kind == 'x' ? 2 : 4;
    if (braces) begin = ++end;
    while (end < in_.size() && end - begin < most && std::isxdigit(static_cast<unsigned char>(in_[end])))
      ++end;
    const bool closed = !braces || (end < in_.size() && in_[end] == '}');
    if (end == begin || !closed || (kind == 'u' && end - begin != 4))
      fail("expected hexadecimal digits after \\", std::string(1, kind));
    out_ += "\\x{" + std::string(in_.substr(begin, end - begin)) + "}";
    at_ = end + (braces ? 1 : 0);
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace detail

}  // namespace midus
