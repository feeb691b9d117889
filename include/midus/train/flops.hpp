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
  const std::size_t lowest = model.lowest_step();
  bool below_head = lowest < Model::depth;  // whether something trains there
  model.visit([&](const Path& path, const auto& parameter) {
    if (path.str() == "model.norm.weight" && !parameter.frozen()) below_head = true;
  });
  double flops = 0;
  model.visit([&](const Path& path, const auto& parameter) {
    if (std::remove_cvref_t<decltype(parameter)>::rank == 1 || matches("*.memory.values", path.str())) return;
    const bool embedding = path.str() == "model.embed_tokens.weight";
    if (embedding && !Config::tied) return;  // looked up, not multiplied
    const auto size = static_cast<double>(parameter.shape.size());
    const bool head = embedding || path.str() == "lm_head.weight";
    const bool reached = head ? below_head : Model::step_of(path.str()) >= lowest;
    flops += 2 * size * (1 + (reached ? 1 : 0) + (parameter.frozen() ? 0 : 1));
  });
  const double attention = 2 * static_cast<double>(length) * heads_width;  // half of T of both products
  for (std::size_t step = 0; step < Model::depth; ++step) flops += attention * (step >= lowest ? 3 : 1);
  return flops;
}

}  // namespace midus
