// How much arithmetic a training step takes.
#pragma once

#include "midus/model/language_model.hpp"

namespace midus {

/// Floating-point operations of one training step, per token at this length: of every matrix that a token is
/// multiplied with 2 in forward, 2 for the gradient of its input where one is wanted, 2 for its own gradient
/// where it trains; and the causal half of attention's products. Look-ups, norms and recomputation are not
/// counted.
template <ModelConfig Config, Device D>
double training_flops_per_token(const LanguageModel<Config, D>& model, Index length) {
  using Model = LanguageModel<Config, D>;
  constexpr double heads_width = Config::AttentionConfig::heads * Model::head_dim;
  const double attention = 2 * static_cast<double>(length) * heads_width;  // half of T of both products
  double flops = 0;
  const auto multiply = [&](const auto& weight, bool reached) {
    flops +=
        2 * static_cast<double>(weight.shape.size()) * (1 + (reached ? 1 : 0) + (weight.frozen() ? 0 : 1));
  };
  const std::size_t lowest = model.lowest_step();
  for (std::size_t step = 0; step < Model::depth; ++step) {
    const bool reached = step >= lowest;
    model.visit_step(step, [&](const Path&, const auto& parameter) {
      if (is_product(parameter.role)) multiply(parameter, reached);
    });
    flops += attention * (reached ? 3 : 1);
  }
  multiply(model.head(), model.trains_below_head());
  return flops;
}

}  // namespace midus
