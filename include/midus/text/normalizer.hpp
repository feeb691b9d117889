// What is done to the text before it is cut: the normalizers that Llama-style tokenizers use.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

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

using NormalizerStep = std::variant<ReplaceText, ReplaceMatches, PrependText>;

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
