// Which blocks a deeper model has, and which of the base's each of them was.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/model/expansion.hpp"
#include "midus/upscale/tensor_source.hpp"

namespace midus {

/// Where one block of the deeper model comes from.
struct BlockOrigin {
  Index from;     ///< its number in the base; of a new block: the layer of the base that it starts from
  bool inserted;  ///< it is new, and told from the base's blocks

  bool operator==(const BlockOrigin&) const = default;
};

/// What one expansion does to the blocks of a model: the common form of all policies (`insert_memory.hpp`,
/// `llama_pro.hpp`, `solar.hpp`). The embedding, the last norm and the head stay what they are.
struct Deepening {
  Policy policy = Policy::midus;
  Index parent_layers = 0;                 ///< layers of the base
  std::vector<Index> parent_positions;     ///< where blocks were inserted, by the base's layers
  std::vector<BlockOrigin> layers;         ///< of the deeper model
  std::vector<BlockOrigin> memory_blocks;  ///< of the deeper model
  std::vector<Index> positions;            ///< of `memory_blocks`: the layer that each comes just before
  /// The start of a tensor of an inserted block: of its role and what it says of itself (`TensorSpec`), and
  /// of the tensor of that name in the layer that the block starts from.
  std::function<TensorSource(Role role, const Start& start, std::string beside)> start;
};

inline constexpr std::string_view layer_prefix = "model.layers.",
                                  memory_block_prefix = "model.memory_blocks.";

/// "model.layers." and 3: "model.layers.3."
inline std::string block_name(std::string_view prefix, Index number) { return text(prefix, number, "."); }

/// A tensor's name in parts: "model.layers.3.mlp.up_proj.weight" is of layer 3, "mlp.up_proj.weight" in it.
/// `prefix` is empty for a tensor that belongs to no block.
struct BlockTensor {
  std::string_view prefix, part;
  Index number = 0;

  explicit BlockTensor(std::string_view name) {
    for (const std::string_view start : {layer_prefix, memory_block_prefix}) {
      if (!name.starts_with(start)) continue;
      std::size_t at = start.size();
      for (; at < name.size() && name[at] >= '0' && name[at] <= '9'; ++at)
        number = 10 * number + (name[at] - '0');
      prefix = start;
      part = name.substr(std::min(at + 1, name.size()));
    }
  }
};

/// Where the tensor `name` of the deeper model comes from.
inline TensorSource source_of(const Deepening& deepening, std::string_view name, Role role,
                              const Start& start) {
  const BlockTensor tensor(name);
  if (tensor.prefix.empty()) return TensorSource::copy_of(std::string(name));
  const bool is_layer = tensor.prefix == layer_prefix;
  const BlockOrigin& origin =
      (is_layer ? deepening.layers : deepening.memory_blocks).at(static_cast<std::size_t>(tensor.number));
  if (origin.inserted)
    return deepening.start(role, start, block_name(layer_prefix, origin.from) + std::string(tensor.part));
  return TensorSource::copy_of(block_name(tensor.prefix, origin.from) + std::string(tensor.part));
}

/// True for a tensor of a block that the expansion inserts.
inline bool is_inserted(const Deepening& deepening, std::string_view name) {
  const BlockTensor tensor(name);
  if (tensor.prefix.empty()) return false;
  const bool is_layer = tensor.prefix == layer_prefix;
  return (is_layer ? deepening.layers : deepening.memory_blocks)
      .at(static_cast<std::size_t>(tensor.number))
      .inserted;
}

/// The history of the deeper model: the base's entries, whose prefixes follow their blocks to their new
/// numbers, and one more.
inline std::vector<Expansion> history_after(const Deepening& deepening, std::vector<Expansion> history,
                                            std::uint64_t seed) {
  const auto each_block = [&](auto&& f) {
    for (std::size_t i = 0; i < deepening.layers.size(); ++i)
      f(layer_prefix, static_cast<Index>(i), deepening.layers[i]);
    for (std::size_t j = 0; j < deepening.memory_blocks.size(); ++j)
      f(memory_block_prefix, static_cast<Index>(j), deepening.memory_blocks[j]);
  };
  for (Expansion& expansion : history) {
    std::vector<std::string> renamed;
    for (const std::string& name : expansion.inserted)
      each_block([&](std::string_view prefix, Index number, const BlockOrigin& origin) {
        if (!origin.inserted && block_name(prefix, origin.from) == name)
          renamed.push_back(block_name(prefix, number));  // SOLAR keeps a layer twice
      });
    expansion.inserted = std::move(renamed);
  }
  Expansion now;
  now.policy = deepening.policy;
  each_block([&](std::string_view prefix, Index number, const BlockOrigin& origin) {
    if (origin.inserted) now.inserted.push_back(block_name(prefix, number));
  });
  now.parent_layers = static_cast<int>(deepening.parent_layers);
  for (const Index position : deepening.parent_positions)
    now.parent_positions.push_back(static_cast<int>(position));
  now.seed = seed;
  history.push_back(std::move(now));
  return history;
}

/// The layers of a base that the user named, ascending. Throws `Error` where one is out of range or named
/// twice.
inline std::vector<Index> checked_positions(std::vector<Index> positions, Index layers, Policy policy) {
  if (positions.empty()) fail(policy, ": name at least one position");
  std::sort(positions.begin(), positions.end());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] < 0 || positions[i] >= layers)
      fail(policy, ": position ", positions[i], ": the base has layers 0 to ", layers - 1);
    if (i > 0 && positions[i] == positions[i - 1])
      fail(policy, ": position ", positions[i], " is named twice: blocks are never stacked");
  }
  return positions;
}

/// The layers 0, 1, ... of a base, unchanged.
inline std::vector<BlockOrigin> kept_blocks(std::size_t count) {
  std::vector<BlockOrigin> blocks;
  for (std::size_t i = 0; i < count; ++i) blocks.push_back({static_cast<Index>(i), false});
  return blocks;
}

}  // namespace midus
