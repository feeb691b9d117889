// MIDUS and its baseline PKM: Memory blocks before layers of a base (arXiv 2512.13751).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "midus/upscale/deepening.hpp"
#include "midus/upscale/expand_model.hpp"

namespace midus {

/// Memory blocks at `positions` of a base of `layers` layers, which has Memory blocks at `taken` already. The
/// blocks are numbered by position, the base's too. `policy`: midus or pkm. Throws `Error` where a position
/// is taken, out of range or named twice.
inline Deepening insert_memory(Policy policy, Index layers, const std::vector<Index>& taken,
                               const std::vector<Index>& positions,
                               const std::optional<double>& key_spread = {}) {
  constexpr double least = std::numeric_limits<float>::min();      // below, keys would be 0 in float
  constexpr double most = std::numeric_limits<float>::max() / 64;  // no draw is as many spreads away
  if (key_spread && !(*key_spread >= least && *key_spread <= most))
    fail(policy, ": the spread of the keys must be from ", least, " to ", most, ", but is ", *key_spread);
  Deepening deepening;
  deepening.policy = policy;
  deepening.parent_layers = layers;
  deepening.parent_positions = checked_positions(positions, layers, policy);
  deepening.layers = kept_blocks(static_cast<std::size_t>(layers));
  for (const Index position : deepening.parent_positions)
    if (std::find(taken.begin(), taken.end(), position) != taken.end())
      fail(policy, ": position ", position,
           " is taken: a Memory block stands before that layer, and blocks are never stacked");
  std::merge(taken.begin(), taken.end(), deepening.parent_positions.begin(), deepening.parent_positions.end(),
             std::back_inserter(deepening.positions));
  for (const Index position : deepening.positions) {
    const auto old = std::find(taken.begin(), taken.end(), position);
    deepening.memory_blocks.push_back(old != taken.end() ? BlockOrigin{old - taken.begin(), false}
                                                         : BlockOrigin{position, true});
  }
  deepening.start = [key_spread](Role role, const Start& start, std::string beside) {
    return TensorSource::of(role == Role::keys && key_spread ? Start::normal(*key_spread) : start,
                            std::move(beside));
  };
  return deepening;
}

/// How `upscale` starts new Memory blocks.
struct InsertOptions {
  std::uint64_t seed = 0;
  std::optional<double> key_spread{};  ///< sub-keys N(0, spread²) in place of U(±1/√D)
};

namespace detail {

template <class Memory>
inline constexpr Policy policy_of = Policy::midus;
template <int MemoryHeads, int Keys, int TopK, int QueryDim>
inline constexpr Policy policy_of<ProductKeyMemory<MemoryHeads, Keys, TopK, QueryDim>> = Policy::pkm;

}  // namespace detail

/// The base with the Memory blocks that `Deeper` has and it has not: `upscale<Deeper>(load<Base>(...),
/// {.seed = 1})`. Its logits are the base's (−0 = +0) until it is trained. The base's memory is taken over;
/// `model.train(inserted)` trains the new blocks. Throws `Error` as `insert_memory` and `expand_model` do.
template <ModelConfig Deeper, ModelConfig Base, Device D>
LanguageModel<Deeper, D> upscale(LanguageModel<Base, D>&& base, const InsertOptions& options = {}) {
  static_assert(!std::is_void_v<typename Deeper::Inserted>,
                "upscale: the deeper model must be an Upscaled<Base, MemoryBlock<...>, BeforeLayers<...>>");
  static_assert(Deeper::layers == Base::layers, "upscale: Memory blocks go into a model of the same Layers");
  const std::vector<Index> taken(Base::Where::positions.begin(), Base::Where::positions.end());
  std::vector<Index> positions;
  for (const int position : Deeper::Where::positions)
    if (std::find(taken.begin(), taken.end(), position) == taken.end()) positions.push_back(position);
  constexpr Policy policy = detail::policy_of<typename Deeper::Inserted::MemoryConfig>;
  return expand_model<Deeper>(std::move(base),
                              insert_memory(policy, Base::layers, taken, positions, options.key_spread),
                              options.seed);
}

}  // namespace midus
