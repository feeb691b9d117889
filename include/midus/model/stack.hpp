// Which blocks follow which.
#pragma once

#include <array>
#include <cstddef>

#include "midus/layers/attention.hpp"
#include "midus/layers/layer.hpp"

namespace midus {

/// One step of a stack: a layer of the base, or an inserted block.
struct StackStep {
  bool inserted;
  std::size_t index;
};

/// The order of L layers and the blocks that `Where` puts before some of them.
template <std::size_t L, class Where>
constexpr std::array<StackStep, L + Where::count> schedule() {
  std::array<StackStep, L + Where::count> steps{};
  std::size_t at = 0, block = 0;
  for (std::size_t layer = 0; layer < L; ++layer) {
    if (block < Where::count && Where::positions[block] == static_cast<int>(layer)) {
      steps[at++] = {true, block};
      ++block;
    }
    steps[at++] = {false, layer};
  }
  return steps;
}

/// Stands for the inserted blocks of a stack that has none.
struct NoBlock {
  struct Saved {};
};

/// Arrays of equal blocks and a constexpr schedule: compile time does not grow with depth.
template <class Device, class Block, std::size_t L, class Inserted, class Where>
struct Stack {
  static constexpr auto steps = schedule<L, Where>();
  static constexpr std::size_t depth = steps.size();

  std::array<Block, L> layers;
  std::array<Inserted, Where::count> memory_blocks;

  /// Of every step from `lowest` up: its input, and, unless only inputs are kept, what its backward needs.
  struct Saved {
    std::array<In<Device, 2>, depth> inputs;
    std::array<typename Block::Saved, L> layers;
    std::array<typename Inserted::Saved, Where::count> memory_blocks;
  };

  static void visit(auto& self, const Path& path, auto&& f) {
    for (std::size_t i = 0; i < L; ++i) Block::visit(self.layers[i], path / "layers" / i, f);
    if constexpr (Where::count > 0)
      for (std::size_t j = 0; j < Where::count; ++j)
        Inserted::visit(self.memory_blocks[j], path / "memory_blocks" / j, f);
  }

  /// Calls f(path, parameter) for the parameters of one step; the path begins in the block.
  template <class F>
  void visit_step(std::size_t step, F&& f) const {
    with_block(step, *this, [&](const auto& block, const auto&) { block.visit(block, Path(), f); });
  }

  /// From x [R,d] to the last step's output, which is returned. Steps below `lowest` save nothing, since
  /// nothing is back-propagated through them. With `checkpointing` only the steps' inputs are kept, and
  /// backward forms the rest again.
  Out<Device, 2> forward(Device& device, const Sequences<Device>& tokens, Out<Device, 2> x, Saved& saved,
                         std::size_t lowest, bool checkpointing) const {
    Out<Device, 2> other = lowest > 0 ? device.allocate(x.shape()) : x;
    for (std::size_t step = 0; step < lowest; ++step) {
      forward_and_forget(device, tokens, step, x, other);
      std::swap(x, other);
    }
    for (std::size_t step = lowest; step < depth; ++step) {
      saved.inputs[step] = x;
      const Out<Device, 2> y = device.allocate(x.shape());
      if (checkpointing) {
        forward_and_forget(device, tokens, step, x, y);
      } else {
        with_block(step, saved,
                   [&](const auto& block, auto& kept) { block.forward(device, tokens, x, kept, y); });
      }
      x = y;
    }
    return x;
  }

  /// dx is the gradient of the stack's output, and becomes that of the input of step `lowest`, in place.
  void backward(Device& device, const Sequences<Device>& tokens, Saved& saved, Out<Device, 2> dx,
                std::size_t lowest, bool checkpointing) const {
    for (std::size_t step = depth; step-- > lowest;) {
      const auto scope = device.scope();
      with_block(step, saved, [&](const auto& block, auto& kept) {
        if (checkpointing)
          block.forward(device, tokens, saved.inputs[step], kept, device.allocate(dx.shape()));
        block.backward(device, tokens, kept, dx);
      });
    }
  }

  /// Inference over the tokens that `caches` (one per step) hold and these; x [R,d] is overwritten, the
  /// result is returned.
  Out<Device, 2> infer(Device& device, const Sequences<Device>& tokens, Out<Device, 2> x,
                       const std::array<KeyValues<Device>, depth>& caches) const {
    Out<Device, 2> other = device.allocate(x.shape());
    for (std::size_t step = 0; step < depth; ++step) {
      with_block(step, *this, [&](const auto& block, const auto&) {
        block.infer(device, tokens, x, caches[step], other);
      });
      std::swap(x, other);
    }
    return x;
  }

 private:
  /// Calls f(block, its part of `parts`) for the block of a step; `parts` has the arrays of a Stack or of a
  /// Saved.
  template <class Parts, class F>
  void with_block(std::size_t step, Parts& parts, F&& f) const {
    const std::size_t index = steps[step].index;
    if constexpr (Where::count > 0) {
      if (steps[step].inserted) {
        f(memory_blocks[index], parts.memory_blocks[index]);
        return;
      }
    }
    f(layers[index], parts.layers[index]);
  }

  void forward_and_forget(Device& device, const Sequences<Device>& tokens, std::size_t step, In<Device, 2> x,
                          Out<Device, 2> y) const {
    const auto scope = device.scope();
    with_block(step, *this, [&](const auto& block, const auto&) {
      typename std::remove_cvref_t<decltype(block)>::Saved forgotten;
      block.forward(device, tokens, x, forgotten, y);
    });
  }
};

}  // namespace midus
