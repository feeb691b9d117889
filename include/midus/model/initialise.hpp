// A fresh base model, to pre-train.
#pragma once

#include <cmath>
#include <cstdint>

#include "midus/core/random.hpp"
#include "midus/model/language_model.hpp"

namespace midus {

/// Fills a model's parameters at random, as Llama's are before pre-training: norms 1, matrices N(0, 0.02²),
/// the projections that write to the residual stream (`Role::output`) smaller by √(2L), so that the
/// stream does not grow with depth (GPT-2's rule). Every value depends on the seed, its tensor's name and its
/// index alone.
template <ModelConfig Config, Device D>
void initialise(LanguageModel<Config, D>& model, std::uint64_t seed) {
  using S = typename D::Scalar;
  model.visit([&](const Path& path, auto& parameter) {
    const auto values = parameter.master.flat();
    const double spread = parameter.role == Role::output ? 0.02 / std::sqrt(2.0 * Config::layers) : 0.02;
    const Random random(seed, path.str());
    for (Index i = 0; i < values.size(); ++i)
      values(i) = parameter.role == Role::norm ? S(1) : static_cast<S>(spread * random.normal(i));
  });
}

}  // namespace midus
