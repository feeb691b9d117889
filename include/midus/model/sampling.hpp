// Choosing the next token.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/random.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// How the next token is drawn: probabilities at `temperature`, of those the `top_k` largest, of those,
/// summing to 1 again, the smallest set that reaches `top_p`, and of those the ones that are at least `min_p`
/// times as probable as the most probable one. Among equals the lower id comes first. Before all that the
/// logits of tokens that occurred are divided by `repetition_penalty` where they are positive, else
/// multiplied with it (arXiv 1909.05858).
struct SamplingOptions {
  double temperature = 1;         ///< 0: always the most probable token
  Index top_k = 0;                ///< 0: all
  double top_p = 1;               ///< 1: all; at least one token is kept
  double min_p = 0;               ///< 0: all
  double repetition_penalty = 1;  ///< 1: none
};

/// A token and its probability.
struct Candidate {
  std::int32_t id;
  double probability;
};

/// Draws tokens from logits. Every draw depends on the seed and its number alone.
class Sampler {
 public:
  /// Throws `Error` that names the option where a number has no meaning.
  explicit Sampler(const SamplingOptions& options = {}, std::uint64_t seed = 0)
      : options_(options), random_(seed, "sampling") {
    // Written so that NaN, for which every comparison is false, is refused too.
    if (!(options.temperature >= 0 && options.temperature <= std::numeric_limits<double>::max()))
      fail("temperature must be a finite number of at least 0, found ", options.temperature);
    if (!(options.top_p >= 0 && options.top_p <= 1))
      fail("top-p must be a number from 0 to 1, found ", options.top_p);
    if (!(options.min_p >= 0 && options.min_p <= 1))
      fail("min-p must be a number from 0 to 1, found ", options.min_p);
    // No float that is divided by it, or multiplied, is infinite.
    if (!(options.repetition_penalty >= 1e-200 && options.repetition_penalty <= 1e200))
      fail("repetition-penalty must be a number from 1e-200 to 1e200, found ", options.repetition_penalty);
    if (options.top_k < 0) fail("top-k must be at least 0 (0: all tokens), found ", options.top_k);
  }

  /// What may be drawn, the most probable first; the probabilities sum to 1. A logit of minus infinity rules
  /// its token out. `context`: the tokens that occurred. Throws `Error` on a logit that is NaN or plus
  /// infinity, where none is finite, and on a token of the context beyond the logits.
  template <class S>
  const std::vector<Candidate>& candidates(View<const S, 1> logits,
                                           std::span<const std::int32_t> context = {}) {
    scores_.assign(logits.data(), logits.data() + logits.size());
    if (options_.repetition_penalty != 1) {
      occurred_.assign(context.begin(), context.end());
      std::sort(occurred_.begin(), occurred_.end());
      occurred_.erase(std::unique(occurred_.begin(), occurred_.end()), occurred_.end());
      for (const std::int32_t id : occurred_) {
        if (id < 0 || static_cast<std::size_t>(id) >= scores_.size())
          fail("token id ", id, " of the context: the vocabulary has ", scores_.size(), " tokens");
        double& score = scores_[static_cast<std::size_t>(id)];
        score = score > 0 ? score / options_.repetition_penalty : score * options_.repetition_penalty;
      }
    }
    const std::int32_t best = greedy();
    candidates_.clear();
    if (options_.temperature == 0) {
      candidates_.push_back({best, 1});
      return candidates_;
    }
    const double largest = scores_[static_cast<std::size_t>(best)];
    for (std::size_t i = 0; i < scores_.size(); ++i) {
      // The largest is subtracted before the division, so that no temperature is too small.
      const double p = std::exp((scores_[i] - largest) / options_.temperature);
      if (p > 0) candidates_.push_back({static_cast<std::int32_t>(i), p});
    }
    const auto before = [](const Candidate& a, const Candidate& b) {
      return a.probability > b.probability || (a.probability == b.probability && a.id < b.id);
    };
    const auto count = static_cast<Index>(candidates_.size());
    const Index kept = options_.top_k == 0 ? count : std::min(options_.top_k, count);
    if (kept == count)  // where partial_sort takes twice as long
      std::sort(candidates_.begin(), candidates_.end(), before);
    else
      std::partial_sort(candidates_.begin(), candidates_.begin() + kept, candidates_.end(), before);
    candidates_.resize(static_cast<std::size_t>(kept));
    normalise();
    if (options_.top_p < 1) {
      // Logits carry rounding, so a sum this close to p has reached it.
      constexpr double slack = 1e-6;
      double sum = 0;
      std::size_t size = 0;
      do sum += candidates_[size++].probability;
      while (size < candidates_.size() && sum < options_.top_p - slack);
      candidates_.resize(size);
      normalise();
    }
    const double least = options_.min_p * candidates_.front().probability;
    if (candidates_.back().probability < least) {
      std::erase_if(candidates_, [&](const Candidate& candidate) { return candidate.probability < least; });
      normalise();
    }
    return candidates_;
  }

  /// The next token; `context`: those that occurred.
  template <class S>
  std::int32_t operator()(View<const S, 1> logits, std::span<const std::int32_t> context = {}) {
    const std::vector<Candidate>& all = candidates(logits, context);
    const double place = random_.uniform(drawn_++);
    double sum = 0;
    for (const Candidate& candidate : all)
      if ((sum += candidate.probability) > place) return candidate.id;
    return all.back().id;  // the sum is 1 but for rounding
  }

 private:
  /// The lowest id of the largest score.
  std::int32_t greedy() const {
    std::size_t best = 0;
    for (std::size_t i = 0; i < scores_.size(); ++i) {
      const double score = scores_[i];
      if (std::isnan(score) || score == std::numeric_limits<double>::infinity())
        fail("the logit of token ", i, " is ", score, "; the model's weights or activations are not finite");
      if (score > scores_[best]) best = i;
    }
    if (std::isinf(scores_[best]))
      fail("all ", scores_.size(), " logits are minus infinity: no token is possible");
    return static_cast<std::int32_t>(best);
  }

  void normalise() {
    double sum = 0;
    for (const Candidate& candidate : candidates_) sum += candidate.probability;
    for (Candidate& candidate : candidates_) candidate.probability /= sum;
  }

  SamplingOptions options_;
  Random random_;
  Index drawn_ = 0;
  std::vector<double> scores_;  // the logits after the penalty
  std::vector<std::int32_t> occurred_;
  std::vector<Candidate> candidates_;
};

}  // namespace midus
