// How texts become requests for log-likelihoods, as lm-evaluation-harness 0.4 makes them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/text/tokenizer.hpp"
#include "midus/text/unicode.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// Tokens of which the last `scored` are predicted, each from those before it.
struct ScoringRequest {
  std::vector<std::int32_t> ids;  ///< context and targets
  Index scored = 0;
  Index cut = 0;  ///< tokens of the context that were left out, on the left, since they do not fit
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

/// Moves the white space at the end of the context to the beginning of the continuation, where the tokens of
/// a word have it.
inline std::pair<std::string, std::string> move_trailing_space(std::string_view context,
                                                               std::string_view continuation) {
  std::size_t end = context.size();
  while (end > 0) {
    const std::size_t last = last_character(context.substr(0, end));
    if (!is_python_space(first_character(context.substr(last)).value)) break;
    end = last;
  }
  return {std::string(context.substr(0, end)), std::string(context.substr(end)) + std::string(continuation)};
}

/// Encodes texts to be scored: with the special tokens that tokenizer.json puts around a text, where they are
/// wanted and the text does not begin with the prefix token's own spelling.
class ScoringEncoder {
 public:
  ScoringEncoder(const Tokenizer& tokenizer, std::int32_t prefix, bool add_special_tokens = true)
      : encode_(tokenizer),
        prefix_(prefix),
        prefix_text_(tokenizer.decode(std::span(&prefix, 1), false)),
        add_special_tokens_(add_special_tokens) {}

  /// The token that stands for an empty context.
  std::int32_t prefix() const { return prefix_; }
  std::vector<std::int32_t> operator()(std::string_view text) {
    const bool begun = !prefix_text_.empty() && text.starts_with(prefix_text_);
    return encode_(text, add_special_tokens_ && !begun);
  }
  std::vector<std::int32_t> without_special_tokens(std::string_view text) { return encode_(text, false); }

 private:
  TextEncoder encode_;
  std::int32_t prefix_;
  std::string prefix_text_;
  bool add_special_tokens_;
};

/// The request for log p(continuation | context). An empty context is the prefix token, unless the
/// continuation begins with that. What does not fit into `most` inputs is cut off on the left. Throws `Error`
/// where nothing would be scored.
inline ScoringRequest continuation_request(ScoringEncoder& encode, std::string_view context,
                                           std::string_view continuation, Index most) {
  ScoringRequest request;
  Index of_context = 0;
  if (context.empty()) {
    request.ids = encode.without_special_tokens(continuation);
    of_context = !request.ids.empty() && request.ids[0] == encode.prefix() ? 1 : 0;
  } else {
    const auto [before, after] = move_trailing_space(context, continuation);
    request.ids = encode(before);
    of_context = static_cast<Index>(request.ids.size());
    // What both have together beyond as many tokens as the context has alone; a token across the border is
    // left out.
    const std::vector<std::int32_t> both = encode(before + after);
    if (both.size() > request.ids.size())
      request.ids.insert(request.ids.end(), both.begin() + of_context, both.end());
  }
  if (of_context == 0) {
    request.ids.insert(request.ids.begin(), encode.prefix());
    of_context = 1;
  }
  const auto size = static_cast<Index>(request.ids.size());
  request.scored = size - std::min(size, of_context);
  if (request.scored == 0)
    fail("the continuation ", in_quotes(continuation),
         " has no token of its own behind its context; put a blank or another delimiter before it");
  if (request.scored > most)
    fail("the continuation ", in_quotes(continuation), " has ", request.scored,
         " tokens, and the model reads ", most, " at most");
  request.cut = std::max<Index>(0, size - most - 1);
  request.ids.erase(request.ids.begin(), request.ids.begin() + request.cut);
  return request;
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
/// per character; of equal ones the first. Throws `Error` where a choice is empty: it has no character.
struct ChoiceScores {
  std::size_t best = 0, best_per_character = 0;
};
inline ChoiceScores choose(std::span<const double> log_likelihoods, std::span<const std::string> choices) {
  ChoiceScores scores;
  const auto per_character = [&](std::size_t i) {
    if (choices[i].empty()) fail("choice ", i, " is empty; expected at least one character");
    return log_likelihoods[i] / static_cast<double>(characters_in(choices[i]));
  };
  for (std::size_t i = 1; i < choices.size(); ++i) {
    if (log_likelihoods[i] > log_likelihoods[scores.best]) scores.best = i;
    if (per_character(i) > per_character(scores.best_per_character)) scores.best_per_character = i;
  }
  return scores;
}

/// The mean of numbers and its standard error, sample deviation / √n; NaN where there are less than two.
struct MeanWithError {
  double mean = 0, error = std::numeric_limits<double>::quiet_NaN();
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

/// Σ totals / Σ weights: a mean over all that was counted, in which a short text counts for little; the
/// standard error by the texts' deviations from it.
inline MeanWithError ratio_with_error(std::span<const double> totals, std::span<const double> weights) {
  double total = 0, weight = 0, squares = 0;
  for (const double value : totals) total += value;
  for (const double value : weights) weight += value;
  MeanWithError out{.mean = total / weight};
  for (std::size_t i = 0; i < totals.size(); ++i) {
    const double off = totals[i] - out.mean * weights[i];
    squares += off * off;
  }
  const auto n = static_cast<double>(totals.size());
  if (n > 1) out.error = std::sqrt(squares * n / (n - 1)) / weight;
  return out;
}

}  // namespace midus
