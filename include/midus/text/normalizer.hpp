// What is done to the text before it is cut into pieces.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "midus/text/byte_level.hpp"
#include "midus/text/normalization.hpp"
#include "midus/text/regex.hpp"

namespace midus {

/// Throws `Error` where replacing has made far more of a text than any real tokenizer does: a hostile file
/// could ask for all memory.
inline void check_growth(std::size_t before, std::size_t after) {
  if (after > (std::size_t{1} << 16) + 64 * before)
    fail("the tokenizer makes ", after, " bytes of ", before, ": more than 64 times as many");
}

/// Every `from` becomes `to`.
struct ReplaceText {
  std::string from, to;

  std::string operator()(std::string_view text) const {
    std::string out;
    while (true) {
      const std::size_t found = text.find(from);
      out += text.substr(0, found);
      if (found == text.npos) return out;
      out += to;
      text.remove_prefix(found + from.size());
    }
  }
};

/// Every match of a regular expression becomes `to`.
struct ReplaceMatches {
  Regex from;
  std::string to;

  std::string operator()(std::string_view text) const {
    std::string out;
    std::size_t done = 0;
    RegexMatcher(from).for_matches(text, [&](std::size_t begin, std::size_t end) {
      out.append(text.substr(done, begin - done)).append(to);
      done = end;
    });
    return out.append(text.substr(done));
  }
};

/// A text that is not empty gets `prefix`.
struct PrependText {
  std::string prefix;
  std::string operator()(std::string_view text) const {
    return text.empty() ? std::string() : prefix + std::string(text);
  }
};

/// NFC and the like.
struct NormalFormText {
  NormalForm form;
  std::string operator()(std::string_view text) const { return normal_form(text, form); }
};

/// Small letters.
struct LowerCaseText {
  std::string operator()(std::string_view text) const { return lower_case(text); }
};

/// Takes white space off the beginning, the end, or both.
struct StripText {
  bool left, right;

  std::string operator()(std::string_view text) const {
    std::size_t begin = text.size(), end = 0;  // of what is no white space
    for (std::size_t at = 0; at < text.size();) {
      const Utf8Character c = first_character(text.substr(at));
      if (!is_white_space(c.value)) begin = std::min(begin, at), end = at + c.bytes;
      at += c.bytes;
    }
    if (begin == text.size()) return left || right ? std::string() : std::string(text);
    if (!left) begin = 0;
    if (!right) end = text.size();
    return std::string(text.substr(begin, end - begin));
  }
};

/// Takes away marks that stand on letters, where they are characters of their own.
struct StripAccentsText {
  std::string operator()(std::string_view text) const {
    std::string out;
    while (!text.empty()) {
      const Utf8Character c = first_character(text);
      if (!is_accent(c.value)) out.append(text.substr(0, c.bytes));
      text.remove_prefix(c.bytes);
    }
    return out;
  }
};

/// Bytes as the characters of a byte-level vocabulary.
struct ByteCharactersText {
  std::string operator()(std::string_view text) const { return to_byte_characters(text); }
};

using NormalizerStep = std::variant<ReplaceText, ReplaceMatches, PrependText, NormalFormText, LowerCaseText,
                                    StripText, StripAccentsText, ByteCharactersText>;

/// Steps one after the other; none: the text as it is.
struct Normalizer {
  std::vector<NormalizerStep> steps;

  std::string operator()(std::string_view text) const {
    std::string out(text);
    for (const NormalizerStep& step : steps) {
      out = std::visit([&](const auto& each) { return each(out); }, step);
      check_growth(text.size(), out.size());
    }
    return out;
  }
};

}  // namespace midus
