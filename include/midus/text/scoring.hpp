// How texts become requests for log-likelihoods, as lm-evaluation-harness 0.4 makes them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/text/tokenizer.hpp"

namespace midus {

/// Tokens of which the last `scored` are predicted, each from those before it.
struct ScoringRequest {
  std::vector<std::int32_t> ids;  ///< context and targets
  Index scored = 0;
};

/// Cuts a text into windows of at most `most` inputs, so that every token is predicted once: the first window
/// predicts its tokens from `prefix` on; the others overlap the one before by `context` − 1 tokens, and the
/// last begins early enough to be full.
inline std::vector<ScoringRequest> rolling_windows(std::span<const std::int32_t> tokens, std::int32_t prefix,
                                                   Index most, Index context = 1) {
  if (most < 1 || context < 1 || context > most)
    fail("rolling windows: expected 1 <= context <= length, found ", context, " and ", most);
  std::vector<ScoringRequest> windows;
  const auto size = static_cast<Index>(tokens.size());
  for (Index predicted = 0; predicted < size;) {
    const Index count = std::min(size - predicted, predicted == 0 ? most : most - context + 1);
    const Index end = predicted + count, begin = std::max<Index>(0, end - most - 1);
    ScoringRequest window{.ids = {}, .scored = count};
    if (predicted == 0) window.ids.push_back(prefix);
    window.ids.insert(window.ids.end(), tokens.begin() + (predicted == 0 ? 0 : begin), tokens.begin() + end);
    windows.push_back(std::move(window));
    predicted = end;
  }
  return windows;
}

/// Python's str.isspace().
inline bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

/// Moves the white space at the end of the context to the beginning of the continuation, where the tokens of
/// a word have it.
inline std::pair<std::string, std::string> move_trailing_space(std::string_view context,
                                                               std::string_view continuation) {
  std::size_t end = context.size();
  while (end > 0) {
    std::size_t last = end - 1;
    while (last > 0 && (static_cast<unsigned char>(context[last]) & 0xC0) == 0x80) --last;
    if (!is_python_space(first_character(context.substr(last)).value)) break;
    end = last;
  }
  return {std::string(context.substr(0, end)), std::string(context.substr(end)) + std::string(continuation)};
}

/// The request for log p(continuation | context). An empty context is `prefix`. What does not fit into `most`
/// inputs is cut off on the left.
inline ScoringRequest continuation_request(TextEncoder& encode, std::string_view context,
                                           std::string_view continuation, std::int32_t prefix, Index most) {
  ScoringRequest request;
  if (context.empty()) {
    const std::vector<std::int32_t> ids = encode(continuation, false);
    request.ids = {prefix};
    request.ids.insert(request.ids.end(), ids.begin(), ids.end());
    request.scored = static_cast<Index>(ids.size());
  } else {
    const auto [before, after] = move_trailing_space(context, continuation);
    request.ids = encode(before + after, false);
    // How many tokens the context has, when it stands alone.
    const auto size = static_cast<Index>(request.ids.size());
    request.scored = size - std::min(size, static_cast<Index>(encode(before, false).size()));
  }
  const auto size = static_cast<Index>(request.ids.size());
  if (request.scored > most)
    fail("a continuation of ", request.scored, " tokens does not fit into the ", most,
         " that the model reads");
  if (size > most + 1) request.ids.erase(request.ids.begin(), request.ids.begin() + (size - most - 1));
  return request;
}

/// The number of characters, as Python's len() counts them.
inline Index characters_in(std::string_view text) {
  Index count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(first_character(text).bytes);
  return count;
}

/// The number of words, as Python's len(re.split(r"\s+", text)) counts them: white space at an end makes an
/// empty one.
inline Index words_in(std::string_view text) {
  Index words = 1;
  for (bool space = false; !text.empty();) {
    const Utf8Character c = first_character(text);
    const bool now = is_python_space(c.value);
    words += now && !space ? 1 : 0;
    space = now;
    text.remove_prefix(c.bytes);
  }
  return words;
}

/// What a multiple-choice question gives: the choice with the largest log-likelihood, and with the largest
/// per character.
struct ChoiceScores {
  std::size_t best = 0, best_per_character = 0;
};
inline ChoiceScores choose(std::span<const double> log_likelihoods, std::span<const std::string> choices) {
  ChoiceScores scores;
  const auto per_character = [&](std::size_t i) {
    return log_likelihoods[i] / static_cast<double>(characters_in(choices[i]));
  };
  for (std::size_t i = 1; i < choices.size(); ++i) {
    if (log_likelihoods[i] > log_likelihoods[scores.best]) scores.best = i;
    if (per_character(i) > per_character(scores.best_per_character)) scores.best_per_character = i;
  }
  return scores;
}

/// The mean of numbers and its standard error, sample deviation / √n.
struct MeanWithError {
  double mean = 0, error = 0;
};
inline MeanWithError mean_with_error(std::span<const double> x) {
  MeanWithError out;
  const auto n = static_cast<double>(x.size());
  for (const double value : x) out.mean += value / n;
  double squares = 0;
  for (const double value : x) squares += (value - out.mean) * (value - out.mean);
  if (x.size() > 1) out.error = std::sqrt(squares / (n - 1) / n);
  return out;
}

}  // namespace midus
