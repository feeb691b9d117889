// Small up-scaled models of every kind, with random weights in which every path is alive.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "midus/midus.hpp"

namespace midus::test {

using SmallBase = Llama<Vocab<19>, Width<12>, Layers<3>, Attention<6, KvHeads<2>, HeadDim<2>>, SwiGlu<14>>;
using SmallTied = Llama<Vocab<17>, Width<16>, Layers<2>, Attention<2>, SwiGlu<10>, TiedHead>;
using SmallHive =
    Upscaled<SmallBase, MemoryBlock<HeadwiseMemory<6, 5, 3, FactorizedValue<3>>>, BeforeLayers<0, 2>>;
using SmallDense = Upscaled<SmallTied, MemoryBlock<HeadwiseMemory<2, 4, 4, DenseValue>>, BeforeLayers<1>>;
using SmallPkm = Upscaled<SmallBase, MemoryBlock<ProductKeyMemory<2, 4, 2, 6>>, BeforeLayers<1>>;

/// Fills every parameter at random: norms around 1, everything else N(0, 0.4²), so that nothing is zero.
template <class Model>
void randomise(Model& model, std::uint64_t seed = 1) {
  model.visit([&](const Path& path, auto& parameter) {
    const Random random(seed, path.str());
    const auto values = parameter.master.flat();
    const bool norm = std::remove_reference_t<decltype(parameter)>::rank == 1;
    for (Index i = 0; i < values.size(); ++i)
      values(i) = static_cast<typename Model::Scalar>((norm ? 1 : 0) + 0.4 * random.normal(i));
  });
}

/// Random ids and targets, some of them ignored.
struct Tokens {
  std::vector<std::int32_t> ids, targets;
  Shape<2> shape;

  Tokens(Index batch, Index length, int vocab, std::uint64_t seed = 1, bool ignore = true)
      : shape{{batch, length}} {
    const Random random(seed, "tokens");
    for (Index i = 0; i < shape.size(); ++i) {
      ids.push_back(static_cast<std::int32_t>(random.below(2 * i, static_cast<std::uint64_t>(vocab))));
      targets.push_back(
          static_cast<std::int32_t>(random.below(2 * i + 1, static_cast<std::uint64_t>(vocab))));
      if (ignore && i % 5 == 3) targets.back() = ignored_target;
    }
  }
  Batch batch() const { return {{ids.data(), shape}, {targets.data(), shape}}; }
};

/// All gradients as they lie, for comparisons bit by bit.
template <class Model>
std::vector<typename Model::Scalar> gradients_of(const Model& model) {
  const auto view = model.gradients();
  return {view.data(), view.data() + view.size()};
}

}  // namespace midus::test
