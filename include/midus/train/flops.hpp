// How much arithmetic a training step takes.
#pragma once

#include <type_traits>

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
    if (std::remove_cvref_t<decltype(weight)>::rank > 1)
      flops +=
          2 * static_cast<double>(weight.shape.size()) * (1 + (reached ? 1 : 0) + (weight.frozen() ? 0 : 1));
  };
  const std::size_t lowest = model.lowest_step();
  bool below_head = lowest < Model::depth;  // whether something trains there
  for (std::size_t step = 0; step < Model::depth; ++step) {
    const bool reached = step >= lowest;
    model.visit_step(step, [&](const Path& path, const auto& parameter) {
      if (path.str() != "memory.values") multiply(parameter, reached);
    });
    flops += attention * (reached ? 3 : 1);
  }
  model.visit([&](const Path& path, const auto& parameter) {
    if (path.str() == "model.norm.weight" && !parameter.frozen()) below_head = true;
  });
  multiply(model.head(), below_head);
  return flops;
}

}  // namespace midus
