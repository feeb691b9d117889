// How a text is cut into the pieces whose characters may be merged to tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "midus/core/shape.hpp"
#include "midus/text/byte_level.hpp"
#include "midus/text/normalizer.hpp"
#include "midus/text/regex.hpp"

namespace midus {

/// What becomes of the matches of a Split, in the words of tokenizer.json.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Cuts at the matches of a pattern.
struct SplitStep {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;

  /// A match and what lies between two are pieces, or left out, whatever is beside them.
  bool local() const { return behavior == SplitBehavior::isolated || behavior == SplitBehavior::removed; }
};
/// Cuts around numbers; with `individual`, around every digit.
struct DigitsStep {
  bool individual = false;
};
/// Puts a blank before a piece that begins without one.
struct PrefixSpaceStep {};
/// Bytes become the characters of a byte-level vocabulary, for the steps behind.
struct ByteCharactersStep {};
/// Blanks become `replacement`, which also goes before the text: always, never, or where the text begins.
struct MetaspaceStep {
  enum class Prepend { always, never, first };
  std::string replacement = "\xe2\x96\x81";
  Prepend prepend = Prepend::always;
  bool split = true;
};

using PreTokenizerStep =
    std::variant<SplitStep, DigitsStep, PrefixSpaceStep, ByteCharactersStep, MetaspaceStep>;

/// GPT-2's expression, that of a ByteLevel pre-tokenizer.
inline const Regex& gpt2_pattern() {
  static const Regex pattern(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
  return pattern;
}

/// The step of the pre-tokenizers that need no expression in tokenizer.json: those of `tokenizers` of that
/// name.
inline SplitStep whitespace_step() {
  const std::string word = detail::class_text(ranges_of_edges(detail::word_edges));
  return {Regex("[" + word + "]+|[^\\s" + word + "]+"), SplitBehavior::removed, true};
}
inline SplitStep whitespace_split_step() { return {Regex("\\s"), SplitBehavior::removed}; }
inline SplitStep punctuation_step(SplitBehavior behavior) {
  return {Regex("[" + detail::class_text(ranges_of_edges(detail::punctuation_edges)) + "]"), behavior};
}
inline SplitStep delimiter_step(char32_t delimiter) {
  return {Regex(detail::character_text(delimiter)), SplitBehavior::removed};
}
/// Pieces of `length` characters, from 1 to 65535.
inline SplitStep fixed_length_step(Index length) { return {Regex("\\O{1," + std::to_string(length) + "}")}; }

/// A part of the work on a text, for one of many threads: what the steps from `step` on make of `text`, and
/// of that the pieces between `begin` and `end` (see `TextCutter`).
struct PreTokenizerUnit {
  std::size_t step = 0;
  std::string_view text;
  std::size_t begin = 0, end = 0;
  bool at_start = true;  ///< the text begins where the whole one does

  bool whole() const { return begin == 0 && end == text.size(); }
};

/// Applies the steps with memory of its own: one per thread.
class PreTokenizer {
 public:
  explicit PreTokenizer(const std::vector<PreTokenizerStep>& steps) : steps_(&steps) {
    for (const PreTokenizerStep& step : steps) {
      const auto* const split = std::get_if<SplitStep>(&step);
      matchers_.push_back(split ? std::make_unique<RegexMatcher>(split->pattern) : nullptr);
    }
  }

  /// Calls piece(text) for every piece that is not empty. `at_start`: the text begins where the whole one
  /// does.
  template <class F>
  void operator()(std::string_view text, bool at_start, F&& piece) {
    apply(0, text, at_start, piece);
  }

  /// The same for what a unit has from `from` on, up to the first place at or behind its end where a match
  /// ends, which is returned. Where it lies behind `stop`, that match has been left out. Nothing is returned
  /// where no match begins up to `stop`.
  template <class F>
  std::optional<std::size_t> operator()(const PreTokenizerUnit& unit, std::size_t from, std::size_t stop,
                                        F&& piece) {
    if (!unit.whole()) return split(unit, from, stop, piece);
    apply(unit.step, unit.text, unit.at_start, piece);
    return unit.end;
  }

 private:
  struct Span {
    std::size_t begin, end;
    bool match;
  };

  template <class F>
  void apply(std::size_t index, std::string_view text, bool at_start, F& piece) {
    if (text.empty()) return;
    if (index == steps_->size()) return piece(text);
    const auto next = [&](std::size_t begin, std::size_t end) {
      if (begin < end) apply(index + 1, text.substr(begin, end - begin), at_start && begin == 0, piece);
    };
    const PreTokenizerStep& step = (*steps_)[index];
    if (const auto* const split = std::get_if<SplitStep>(&step)) {
      if (split->local()) {
        const PreTokenizerUnit all{index, text, 0, text.size(), at_start};
        this->split(all, 0, text.size(), piece);
        return;
      }
      std::size_t done = 0;
      std::vector<Span> spans;
      matchers_[index]->for_matches(text, [&](std::size_t begin, std::size_t end) {
        if (done != begin) spans.push_back({done, begin, split->invert});
        spans.push_back({begin, end, !split->invert});
        done = end;
      });
      if (done != text.size()) spans.push_back({done, text.size(), split->invert});
      for (const Span& span : joined(spans, split->behavior)) next(span.begin, span.end);
    } else if (const auto* const digits = std::get_if<DigitsStep>(&step)) {
      std::size_t begin = 0;
      bool before = false;
      for (std::size_t at = 0; at < text.size();) {
        const Utf8Character c = first_character(text.substr(at));
        const bool number = is_number(c.value);
        if (number != before || (number && digits->individual)) next(begin, at), begin = at;
        before = number;
        at += c.bytes;
      }
      next(begin, text.size());
    } else if (std::holds_alternative<PrefixSpaceStep>(step)) {
      if (text[0] == ' ') return next(0, text.size());
      const std::string with_space = " " + std::string(text);
      apply(index + 1, with_space, at_start, piece);
    } else if (std::holds_alternative<ByteCharactersStep>(step)) {
      apply(index + 1, to_byte_characters(text), at_start, piece);
    } else {
      const auto& metaspace = std::get<MetaspaceStep>(step);
      std::string replaced = ReplaceText{" ", metaspace.replacement}(text);
      const bool prepend = metaspace.prepend == MetaspaceStep::Prepend::always ||
                           (metaspace.prepend == MetaspaceStep::Prepend::first && at_start);
      if (prepend && !replaced.starts_with(metaspace.replacement))
        replaced = metaspace.replacement + replaced;
      std::size_t begin = 0;
      while (metaspace.split) {  // each replacement begins a piece
        const std::size_t found = replaced.find(metaspace.replacement, begin + (begin < replaced.size()));
        if (found == replaced.npos) break;
        apply(index + 1, std::string_view(replaced).substr(begin, found - begin), at_start && begin == 0,
              piece);
        begin = found;
      }
      apply(index + 1, std::string_view(replaced).substr(begin), at_start && begin == 0, piece);
    }
  }

  /// The pieces of a unit whose step is a local Split.
  template <class F>
  std::optional<std::size_t> split(const PreTokenizerUnit& unit, std::size_t from, std::size_t stop,
                                   F& piece) {
    const auto& step = std::get<SplitStep>((*steps_)[unit.step]);
    const auto next = [&](std::size_t begin, std::size_t end, bool match) {
      if (begin == end || (step.behavior == SplitBehavior::removed && match != step.invert)) return;
      apply(unit.step + 1, unit.text.substr(begin, end - begin), unit.at_start && begin == 0, piece);
    };
    std::size_t done = from;
    bool ended = false;
    matchers_[unit.step]->for_matches(unit.text, from, stop, [&](std::size_t begin, std::size_t end) {
      // The units that a long match goes over would else each make pieces of all of its rest.
      if (end <= stop) next(done, begin, false), next(begin, end, true);
      done = end;
      ended = end >= unit.end && end < unit.text.size();
      return !ended;
    });
    if (ended || done > stop) return done;
    if (stop < unit.text.size()) return std::nullopt;
    next(done, unit.text.size(), false);
    return unit.text.size();
  }

  static std::vector<Span> joined(const std::vector<Span>& spans, SplitBehavior behavior) {
    std::vector<Span> out;
    if (behavior == SplitBehavior::contiguous) {
      for (const Span& span : spans) {
        if (!out.empty() && out.back().match == span.match)
          out.back().end = span.end;
        else
          out.push_back(span);
      }
    } else if (behavior == SplitBehavior::merged_with_previous) {
      bool before = false;
      for (const Span& span : spans) {
        if (span.match && !before && !out.empty())
          out.back().end = span.end;
        else
          out.push_back(span);
        before = span.match;
      }
    } else {  // merged_with_next
      bool after = false;
      for (std::size_t i = spans.size(); i-- > 0;) {
        if (spans[i].match && !after && !out.empty())
          out.back().begin = spans[i].begin;
        else
          out.push_back(spans[i]);
        after = spans[i].match;
      }
      std::reverse(out.begin(), out.end());
    }
    return out;
  }

  const std::vector<PreTokenizerStep>* steps_;
  std::vector<std::unique_ptr<RegexMatcher>> matchers_;
};

}  // namespace midus
