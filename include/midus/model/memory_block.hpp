// The block that MIDUS inserts.
#pragma once

#include "midus/layers/attention.hpp"
#include "midus/layers/dense_value.hpp"
#include "midus/layers/factorized_value.hpp"
#include "midus/layers/headwise_memory.hpp"
#include "midus/layers/product_key_memory.hpp"
#include "midus/layers/rms_norm.hpp"

namespace midus {

/// M(x) = x + Memory(Attn′(RMSNorm(x))) (arXiv 2512.13751): no output projection, no feed-forward layer, the
/// only residual is the outer one. The memory is an HML, or one product-key memory for the block. Same
/// contract as TransformerBlock.
template <class Device, int Width, class AttentionConfig, class Memory>
struct MemoryBlockLayer {
  static constexpr int head_dim = AttentionConfig::template head_dim<Width>();

  using Norm = RmsNormLayer<Device, Width>;
  using Attention = typename AttentionConfig::template HeadsLayer<Device, Width>;
  using MemoryLayer = typename Memory::template Layer<Device, Width, AttentionConfig::heads, head_dim>;

  Norm input_layernorm;
  Attention self_attn;
  MemoryLayer memory;

  struct Saved {
    In<Device, 2> x;
    Out<Device, 2> u;  // the norm's output
    typename Norm::Saved input_layernorm;
    typename Attention::Saved self_attn;
    typename MemoryLayer::Saved memory;
  };

  static void visit(auto& self, const Path& path, auto&& f) {
    self.input_layernorm.visit(self.input_layernorm, path / "input_layernorm", f);
    self.self_attn.visit(self.self_attn, path / "self_attn", f);
    self.memory.visit(self.memory, path / "memory", f);
  }

  void forward(Device& device, const Sequences<Device>& tokens, In<Device, 2> x, Saved& saved,
               Out<Device, 2> y) const {
    saved.x = x;
    saved.u = device.allocate(x.shape());
    input_layernorm.forward(device, x, saved.input_layernorm, saved.u);
    self_attn.forward(device, tokens, saved.u, saved.self_attn);
    device.copy(x, y);
    memory.forward(device, saved.self_attn.y, saved.memory, stream(y));
  }

  /// What forward added to x, [R,d], computed again: beside x it would be lost to rounding.
  Out<Device, 2> written(Device& device, const Saved& saved) const {
    const auto out = device.allocate(saved.x.shape());
    device.fill(out, typename Device::Scalar(0));
    typename MemoryLayer::Saved now;
    memory.forward(device, saved.self_attn.y, now, stream(out));
    return out;
  }

  void backward(Device& device, const Sequences<Device>& tokens, const Saved& saved,
                Out<Device, 2> dx) const {
    const auto scope = device.scope();
    const auto dheads = device.allocate(saved.self_attn.y.shape());
    const auto du = device.allocate(dx.shape());
    memory.backward(device, saved.self_attn.y, saved.memory, stream(dx), dheads);
    self_attn.backward(device, tokens, saved.u, saved.self_attn, dheads, du);
    input_layernorm.backward(device, saved.x, saved.input_layernorm, du, dx);
  }

  void infer(Device& device, const Sequences<Device>& tokens, In<Device, 2> x, const KeyValues<Device>& cache,
             Out<Device, 2> y) const {
    const auto scope = device.scope();
    Saved now;
    now.u = device.allocate(x.shape());
    const auto heads = device.allocate(Shape{x.extent(0), Index{AttentionConfig::heads}, Index{head_dim}});
    input_layernorm.forward(device, x, now.input_layernorm, now.u);
    self_attn.infer(device, tokens, now.u, cache, heads);
    device.copy(x, y);
    memory.forward(device, heads, now.memory, stream(y));
  }

 private:
  /// The residual stream [R,d] as the memory's heads write it: [R,H,D], or [R,1,d] where H·D is not d.
  static Out<Device, 3> stream(Out<Device, 2> x) {
    constexpr Index heads = AttentionConfig::heads * head_dim == Width ? AttentionConfig::heads : 1;
    return x.reshape(Shape{x.extent(0), heads, Width / heads});
  }
};

/// Says in a model's type what is inserted: `MemoryBlock<HeadwiseMemory<...>>`,
/// `MemoryBlock<ProductKeyMemory<...>>`.
template <class Memory>
struct MemoryBlock {
  using MemoryConfig = Memory;
  template <class Device, int Width, class AttentionConfig>
  using Layer = MemoryBlockLayer<Device, Width, AttentionConfig, Memory>;
};

}  // namespace midus
