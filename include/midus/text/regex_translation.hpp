// Regular expressions of tokenizer.json in the language of PCRE2.
//
// They are written for Oniguruma. What both libraries read alike is handed on, what they read differently is
// translated or refused by name, and the Unicode classes are made those of `tokenizers` (unicode.hpp).
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/text/regex_classes.hpp"
#include "midus/text/regex_cursor.hpp"
#include "midus/text/utf8.hpp"

namespace midus::detail {

/// Finds letters that are several where case is passed over (ß and ss), in a text: two libraries do not agree
/// on how such a letter matches the others.
inline bool has_multiple_fold(const std::u32string& text) {
  static const auto code = [] {
    std::string pattern = "(?i)";
    for (const char32_t* each : multiple_folds) {
      for (; *each != 0; ++each) pattern += character_text(*each);
      pattern += '|';
    }
    pattern.pop_back();
    return compile_pcre2(pattern);
  }();
  std::string utf8;
  for (const char32_t c : text) append_utf8(utf8, c);
  const std::unique_ptr<pcre2_match_data_8, Pcre2Free> data(
      pcre2_match_data_create_from_pattern_8(code.get(), nullptr));
  return pcre2_match_8(code.get(), reinterpret_cast<PCRE2_SPTR8>(utf8.data()), utf8.size(), 0, 0, data.get(),
                       nullptr) >= 0;
}

/// Oniguruma's pattern in PCRE2's language.
class RegexTranslation : RegexCursor {
 public:
  explicit RegexTranslation(std::string_view pattern) : RegexCursor(pattern) {
    groups_.push_back({});
    while (at_ < in_.size()) {
      part();
      expect_small(out_);
    }
    end_literals();
    if (groups_.size() > 1) fail("a group has no end");
    out_.append(groups_[0].closers, ')');
  }
  const std::string& text() const { return out_; }

 private:
  struct Group {
    std::size_t begin = 0;  // in the translation
    std::size_t closers = 0;
    bool caseless = false;  // before it
    bool repeats = false;   // it may be repeated: it looks neither ahead nor behind
  };
  static constexpr std::size_t nothing = std::string::npos;

  void part() {
    switch (in_[at_]) {
      case '\\':
        return escape();
      case '[':
        return brackets();
      case '(':
        return open();
      case ')':
        return close();
      case '|':
        end_literals(), out_ += '|', ++at_, atom_ = nothing;
        return;
      case '?':
      case '*':
      case '+':
        return repeat(std::string(1, in_[at_++]), {});
      case '{':
        return interval();
      case '.':
        return atom("."), void(++at_);
      case '^':
      case '$':
        return anchor(std::string(1, in_[at_++]));
      default:
        return literal(character());
    }
  }

  /// What can be repeated, beside which literals end (not at a group: Oniguruma joins them over its edge).
  void atom(std::string_view text, bool group = false) {
    if (!group) end_literals();
    atom_ = out_.size();
    repeats_ = 0;
    out_ += text;
  }

  /// What takes no text, and cannot be repeated.
  void anchor(std::string_view text) {
    atom(text);
    atom_ = nothing;
  }

  /// A character that stands for itself.
  void literal(char32_t c) {
    atom_ = out_.size();
    repeats_ = 0;
    if (caseless_) literals_ += c;
    if (c < 0x80 && !std::isalnum(static_cast<int>(c)))
      out_ += character_text(c);
    else
      append_utf8(out_, c);
  }
  /// Nothing joins the literals so far.
  void end_literals() {
    if (has_multiple_fold(literals_))
      fail(
          "where case is passed over, a letter that is several in lower case (such as \xc3\x9f, which is ss) "
          "is not supported");
    literals_.clear();
  }

  // Groups.

  void open() {
    if (next_is("(*")) fail("expected a group, found \"(*\"");
    if (next_is("(?#")) return comment();
    Group group{out_.size(), 1, caseless_, true};
    if (!next_is("(?")) return begin_group(group, "(?:", 1);
    for (const std::string_view look : {"(?<=", "(?<!", "(?=", "(?!"})
      if (next_is(look)) {
        group.repeats = false;
        return begin_group(group, look, look.size());
      }
    for (const std::string_view known : {"(?:", "(?>"})
      if (next_is(known)) return begin_group(group, known, known.size());
    if (next_is("(?<") || next_is("(?'")) return begin_group(group, "(?:", name_length());
    options(group);
  }
  void begin_group(Group group, std::string_view text, std::size_t length) {
    atom(text, true);
    group.begin = atom_;
    groups_.push_back(group);
    atom_ = nothing;
    at_ += length;
  }
  void close() {
    if (groups_.size() == 1) fail("there is a \")\" without a group");
    const Group group = groups_.back();
    groups_.pop_back();
    out_.append(group.closers, ')');
    caseless_ = group.caseless;
    atom_ = group.repeats ? group.begin : nothing;
    repeats_ = 0;
    ++at_;
  }
  /// (?#...): as if it were not there. A backslash hides the character behind it.
  void comment() {
    for (at_ += 3; at_ < in_.size() && in_[at_] != ')'; ++at_)
      if (in_[at_] == '\\') ++at_;
    if (at_ >= in_.size()) fail("a comment has no end");
    ++at_;
  }
  /// The length of (?<name> or (?'name': names are of use to references alone, which are not supported.
  std::size_t name_length() const {
    const char end = in_[at_ + 2] == '<' ? '>' : '\'';
    std::size_t at = at_ + 3;
    while (at < in_.size() && (std::isalnum(static_cast<unsigned char>(in_[at])) || in_[at] == '_')) ++at;
    if (at == at_ + 3 || at >= in_.size() || in_[at] != end || is_digit(in_[at_ + 3]))
      fail("the group ", in_quotes(std::string(in_.substr(at_, at + 1 - at_))),
           " is not supported: a name is letters, digits and _");
    return at + 1 - at_;
  }
  /// (?i:...), (?m-i:...), and (?i), which holds to the end of the group around it, | and all.
  void options(Group group) {
    std::size_t at = at_ + 2;
    bool on = true, caseless = caseless_;
    std::string set, unset;
    for (; at < in_.size() && (in_[at] == 'i' || in_[at] == 'm' || (in_[at] == '-' && on)); ++at) {
      if (in_[at] == '-') {
        on = false;
        continue;
      }
      if (in_[at] == 'i') caseless = on;
      (on ? set : unset) += in_[at] == 'm' ? 's' : 'i';  // there m lets . match a line feed, here s does
    }
    if (at >= in_.size() || (in_[at] != ':' && in_[at] != ')'))
      fail("the group ", in_quotes(std::string(in_.substr(at_, at + 1 - at_))), " is not supported");
    const std::string text = "(?" + set + (unset.empty() ? "" : "-" + unset) + ":";
    if (in_[at] == ':') {
      begin_group(group, text, at + 1 - at_);
    } else {
      atom(text, true);
      atom_ = nothing;
      ++groups_.back().closers;
      at_ = at + 1;
    }
    caseless_ = caseless;
  }

  // Repeats.

  struct Repeat {
    bool interval = false, fixed = false, possessive = false;
  };
  /// Of what stands before: `text` is PCRE2's for how often.
  void repeat(std::string text, Repeat how) {
    if (atom_ == nothing) fail("there is nothing that ", in_quotes(text), " could repeat");
    if (!literals_.empty() && how.interval) literals_ += literals_.back();  // ss
    end_literals();
    if (++repeats_ > 16) fail("more than 16 repeats of one thing");
    if (repeats_ > 1) out_.insert(atom_, "(?:"), out_ += ')';  // a repeat of a repeat
    out_ += text;
    if (how.possessive) {
      out_ += '+';
    } else if (peek() == '?' && !how.fixed) {
      out_ += '?';
      ++at_;
    } else if (peek() == '+' && !how.interval) {
      out_ += '+';
      ++at_;
    }
  }
  /// {n}, {n,}, {n,m}, and Oniguruma's {,m}; any other brace stands for itself. There a + behind one is no
  /// mark of a possessive repeat but repeats the repeat, a ? behind {n} makes it optional, and {m,n} with n <
  /// m is the possessive {n,m}.
  void interval() {
    std::size_t end = at_ + 1;
    while (end < in_.size() && (is_digit(in_[end]) || in_[end] == ',')) ++end;
    const std::string_view inner = in_.substr(at_ + 1, end - at_ - 1);
    const std::size_t comma = inner.find(',');
    if (end >= in_.size() || in_[end] != '}' || inner.empty() || inner == "," ||
        (comma != inner.npos && inner.find(',', comma + 1) != inner.npos))
      return literal(character());
    std::string low(inner.substr(0, comma)), high;
    if (comma != inner.npos) high = std::string(inner.substr(comma + 1));
    if (low.size() > 5 || high.size() > 5) fail("a repeat of more than 65535 times is not supported");
    if (low.empty()) low = "0";
    at_ = end + 1;
    Repeat how{true, comma == inner.npos, false};
    if (!high.empty() && std::stoi(low) > std::stoi(high)) {
      std::swap(low, high);
      how.possessive = true;
    }
    repeat("{" + low + (how.fixed ? "" : "," + high) + "}", how);
  }

  // Escapes.

  void escape() {
    const char c = peek(1);
    if (c == '\0' && at_ + 1 >= in_.size()) fail("the pattern ends in a backslash");
    if (const std::optional<std::string> name = named_class()) {
      const bool negated = (*name)[0] == '^';
      std::string plain = negated ? name->substr(1) : *name;
      if (plain == "word") plain = "word alone";
      const std::string text = (negated ? "[^" : "[") + unicode_class(plain).text + "]";
      return atom(caseless_ ? "(?-i:" + text + ")" : text);  // (?i) does not reach it there
    }
    if (c == 'b' || c == 'B') {
      const std::string word = "[" + unicode_class("word alone").text + "])";
      const std::string here = c == 'b' ? "(?!" : "(?=", elsewhere = c == 'b' ? "(?=" : "(?!";
      anchor(std::string(caseless_ ? "(?-i:" : "(?:") + "(?<=" + word + here + word + "|(?<!" + word +
             elsewhere + word + ")");
    } else if (c == 'R') {
      atom("(?>\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])");
    } else if (c == 'N') {
      atom("[^\\n]");
    } else if (c == 'O') {
      atom("[\\x{0}-\\x{10FFFF}]");  // one item however often it is repeated, which (?s:.) is not
    } else if (c == 'A' || c == 'z' || c == 'Z') {
      anchor(in_.substr(at_, 2));
    } else {
      return literal(character());
    }
    at_ += 2;
  }

  // Classes in brackets.

  void brackets() {
    ++at_;
    const ClassSet set = class_set(0);
    const CodePointRanges ranges = united(set.own.ranges);
    if (caseless_) {
      std::u32string folds;
      for (std::size_t i = 0; i < std::size(multiple_folds); i += 2)
        if (!set.negated && contains(ranges, multiple_folds[i][0])) folds += multiple_folds[i][0];
      end_literals();
      literals_ = folds;
      end_literals();
    }
    std::string text = set.plain && !caseless_ ? set.own.text : class_text(ranges);
    if (ranges.empty()) return atom(set.negated ? "(?s:.)" : "(?!)");
    atom((set.negated ? "[^" : "[") + text + "]");
  }
  static bool contains(const CodePointRanges& ranges, char32_t c) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [c](const auto& range) { return range.first <= c && c <= range.second; });
  }

  std::string out_;
  std::vector<Group> groups_;
  std::size_t atom_ = nothing;  // where what a repeat would repeat begins in the translation
  int repeats_ = 0;             // of it
  bool caseless_ = false;
  std::u32string literals_;  // beside one another where case is passed over
};

}  // namespace midus::detail
