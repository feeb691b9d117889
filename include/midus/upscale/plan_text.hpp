// A plan as a user reads it before anything is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "midus/upscale/plan.hpp"

namespace midus {

/// "1,234,567"
inline std::string grouped(std::uint64_t number) {
  const std::string digits = std::to_string(number);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

namespace detail {

/// "layer 3" or "layers 3-5".
inline std::string layer_range(Index first, Index last) {
  return first == last ? text("layer ", first) : text("layers ", first, "-", last);
}

/// One line per block of the deeper model, in the order of the stack; runs of kept layers are one line.
inline std::string stack_text(const Plan& plan) {
  const Deepening& deepening = plan.deepening;
  std::string out;
  const auto line = [&](const std::string& block, const std::string& origin) {
    out += "  " + block + std::string(block.size() < 24 ? 24 - block.size() : 1, ' ') + origin + "\n";
  };
  std::size_t memory = 0;
  const auto layers = static_cast<Index>(deepening.layers.size());
  const auto origin = [&](Index layer) { return deepening.layers[static_cast<std::size_t>(layer)]; };
  const auto is_memory_next = [&](Index layer) {
    return memory < deepening.positions.size() && deepening.positions[memory] == layer;
  };
  for (Index layer = 0; layer < layers;) {
    if (is_memory_next(layer)) {
      const BlockOrigin& block = deepening.memory_blocks[memory];
      line(text("memory block ", memory),
           block.inserted ? text("NEW: attention of layer ", block.from, ", a memory of its own")
                          : text("memory block ", block.from));
      ++memory;
    }
    if (origin(layer).inserted) {
      line(detail::layer_range(layer, layer),
           text("NEW: copy of layer ", origin(layer).from, ", o_proj and down_proj zero"));
      ++layer;
      continue;
    }
    Index last = layer;
    while (last + 1 < layers && !origin(last + 1).inserted && !is_memory_next(last + 1) &&
           origin(last + 1).from == origin(last).from + 1)
      ++last;
    line(layer_range(layer, last), layer_range(origin(layer).from, origin(last).from));
    layer = last + 1;
  }
  return out;
}

}  // namespace detail

/// The plan as a table: what stands where and where it comes from, and the counts.
inline std::string plan_text(const Plan& plan) {
  std::string out = text(plan.deepening.policy, ": ", plan.base.file, "\n");
  if (plan.deeper.memory) out += "  memory: " + memory_blocks_text(plan.deeper) + "\n";
  out += "  block                   of the base\n" + detail::stack_text(plan);
  const auto count = [](Index number) { return grouped(static_cast<std::uint64_t>(number)); };
  char percent[32];
  std::snprintf(
      percent, sizeof percent, "%.2f",
      100 * static_cast<double>(plan.added_parameters()) / static_cast<double>(plan.base_parameters));
  out += "  parameters: " + count(plan.base_parameters) + " of the base + " + count(plan.added_parameters()) +
         " added (" + percent + " %) = " + count(plan.parameters) + "\n";
  out += "  trained with --train inserted: " +
         (plan.trained_parameters > 0 ? count(plan.trained_parameters)
                                      : text("none, since ", plan.deepening.policy,
                                             " inserts nothing that could be told from the base")) +
         "\n";
  return out + "  weights: " + grouped(plan.bytes) + " bytes\n";
}

}  // namespace midus
