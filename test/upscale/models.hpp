// Small models for the tests of upscale/.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "midus/midus.hpp"

namespace midus::test {

template <int L, class... Tied>
using Small = Llama<Vocab<19>, Width<16>, Layers<L>, Attention<4, KvHeads<2>>, SwiGlu<24>, Tied...>;
using Hive = MemoryBlock<HeadwiseMemory<4, 5, 3, FactorizedValue<3>>>;
using Dense = MemoryBlock<HeadwiseMemory<4, 5, 3, DenseValue>>;
using Pkm = MemoryBlock<ProductKeyMemory<3, 5, 2, 6>>;

/// A base whose parameters are all at random, the norms too.
template <class Config, class D>
LanguageModel<Config, D> random_model(D& device) {
  LanguageModel<Config, D> model(device, ModelSettings{});
  model.visit([](const Path& path, auto& parameter) {
    const Random random(1, path.str());
    for (Index i = 0; i < parameter.master.size(); ++i)
      parameter.master.data()[i] = static_cast<typename D::Scalar>(
          (path.str().ends_with("norm.weight") ? 1 : 0) + 0.3 * random.normal(i));
  });
  return model;
}

/// Fixed tokens [2,9].
inline View<const std::int32_t, 2> tokens() {
  static const std::vector<std::int32_t> ids{3, 1, 4, 1, 5, 9, 2, 6, 5, 18, 0, 7, 7, 7, 2, 11, 16, 3};
  return {ids.data(), Shape{Index{2}, Index{9}}};
}

template <class Model>
std::vector<double> logits_of(Model& model) {
  const auto scope = model.device().scope();
  const auto logits = model.logits(tokens());
  return {logits.data(), logits.data() + logits.size()};
}

/// Every parameter's values by name.
template <class Model>
std::map<std::string, std::vector<double>> parameters_of(const Model& model) {
  std::map<std::string, std::vector<double>> all;
  model.visit([&](const Path& path, const auto& parameter) {
    auto& values = all[path.str()];
    for (Index i = 0; i < parameter.shape.size(); ++i)
      values.push_back(static_cast<double>(parameter.value.at(i)));
  });
  return all;
}

}  // namespace midus::test
