// How a long text is cut into units for many threads, without a change to its pieces.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "midus/text/pre_tokenizer.hpp"
#include "midus/text/unicode.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// Cuts what the steps from `step` on would get into units of about `size` bytes, and calls take(unit) for
/// each, in order; `keep(std::string)` returns a view of a text that must live as long as the units.
///
/// Around numbers and before blanks the pieces of two steps (Digits, Metaspace) are the same apart and
/// together. Nothing of the kind holds for a regular expression, which may look as far to either side as it
/// likes. So the units of a Split share the text, and each begins where a match is likely to have ended: from
/// a place where one has, all that follows is the same, whatever was before. Whoever encodes the units has to
/// look whether the one before ended there, and if not, do the unit again from where that did
/// (`DocumentEncoder`). What none of this is known of is one unit.
template <class Keep, class Take>
class TextCutter {
 public:
  TextCutter(const std::vector<PreTokenizerStep>& steps, std::size_t size, Keep keep, Take take)
      : steps_(steps), size_(size), keep_(std::move(keep)), take_(std::move(take)) {}

  void operator()(std::size_t step, std::string_view text, bool at_start) {
    if (text.size() <= 2 * size_ || step == steps_.size()) return unit(step, text, 0, text.size(), at_start);
    std::visit([&](const auto& each) { cut(each, step, text, at_start); }, steps_[step]);
  }

 private:
  void unit(std::size_t step, std::string_view text, std::size_t begin, std::size_t end, bool at_start) {
    if (begin < end) take_(PreTokenizerUnit{step, text, begin, end, at_start});
  }
  /// A unit of a part of the text.
  void part(std::size_t step, std::string_view text, std::size_t begin, std::size_t end, bool at_start) {
    unit(step, text.substr(begin, end - begin), 0, end - begin, at_start && begin == 0);
  }

  template <class Step>
  void cut(const Step&, std::size_t step, std::string_view text, bool at_start) {
    unit(step, text, 0, text.size(), at_start);
  }

  void cut(const SplitStep& split, std::size_t step, std::string_view text, bool at_start) {
    std::size_t begin = 0;
    while (split.local() && text.size() - begin > 2 * size_) {
      const std::size_t end = likely_end(text, begin + size_);
      unit(step, text, begin, end, at_start);
      begin = end;
    }
    unit(step, text, begin, text.size(), at_start);
  }

  void cut(const DigitsStep&, std::size_t step, std::string_view text, bool at_start) {
    std::size_t begin = 0, last = 0;  // of the unit, and of the run of numbers or of what is none
    bool before = false;
    const auto end_run = [&](std::size_t at) {
      if (at - last > 2 * size_ && !before) {  // without a number: what the next step makes of it
        part(step, text, begin, last, at_start);
        (*this)(step + 1, text.substr(last, at - last), at_start && last == 0);
        begin = at;
      } else if (at - begin >= size_) {
        part(step, text, begin, at, at_start);
        begin = at;
      }
      last = at;
    };
    for (std::size_t at = 0; at < text.size();) {
      const Utf8Character c = first_character(text.substr(at));
      const bool number = is_number(c.value);
      if (number != before) end_run(at);
      before = number;
      at += c.bytes;
    }
    end_run(text.size());
    part(step, text, begin, text.size(), at_start);
  }

  void cut(const PrefixSpaceStep&, std::size_t step, std::string_view text, bool at_start) {
    (*this)(step + 1, text[0] == ' ' ? text : keep_(" " + std::string(text)), at_start);
  }

  void cut(const ByteCharactersStep&, std::size_t step, std::string_view text, bool at_start) {
    (*this)(step + 1, keep_(to_byte_characters(text)), at_start);
  }

  void cut(const MetaspaceStep& metaspace, std::size_t step, std::string_view text, bool at_start) {
    std::size_t begin = 0;
    while (metaspace.split && text.size() - begin > 2 * size_) {
      const std::size_t blank = text.find(' ', begin + size_);
      if (blank == text.npos) break;
      part(step, text, begin, blank, at_start);
      begin = blank;
    }
    part(step, text, begin, text.size(), at_start);
  }

  /// A place behind `from` where most expressions have ended a match: a line before a letter, or else a blank
  /// between letters.
  std::size_t likely_end(std::string_view text, std::size_t from) const {
    const auto letter = [&](std::size_t at) {
      return at < text.size() && ((text[at] | 0x20) >= 'a' && (text[at] | 0x20) <= 'z');
    };
    const std::string_view near = text.substr(0, std::min(text.size(), from + size_));
    for (std::size_t at = near.find('\n', from); at != near.npos; at = near.find('\n', at + 1))
      if (letter(at + 1)) return at + 1;
    for (std::size_t at = near.find(' ', from); at != near.npos; at = near.find(' ', at + 1))
      if (letter(at - 1) && letter(at + 1)) return at;
    std::size_t at = near.size();
    while (at < text.size() && is_inside_character(text[at])) ++at;
    return at;
  }

  const std::vector<PreTokenizerStep>& steps_;
  std::size_t size_;
  Keep keep_;
  Take take_;
};

}  // namespace midus
