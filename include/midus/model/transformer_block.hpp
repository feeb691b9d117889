// A layer of the base model, and the contract of all blocks.
#pragma once

#include "midus/layers/attention.hpp"
#include "midus/layers/rms_norm.hpp"
#include "midus/layers/swiglu.hpp"

namespace midus {

/// The block contract, on the residual stream x [R,d]:
/// - `forward(device, tokens, x, saved, y)` overwrites y, which is not x; `saved` keeps views of x, so x must
/// live on.
/// - `backward(device, tokens, saved, dx)`: dx is the gradient of y, and becomes that of x, in place;
/// gradients of
///   parameters are added to.
/// - `infer(device, tokens, x, cache, y)`: forward over what the cache holds and these tokens; saves nothing.
///
/// The transformer block of Llama: x + Attention(RMSNorm(x)), then + SwiGLU(RMSNorm(·)).
template <class Device, int Width, class AttentionConfig, class FeedForward>
struct TransformerBlock {
  using Norm = RmsNormLayer<Device, Width>;
  using Attention = typename AttentionConfig::template Layer<Device, Width>;
  using Mlp = typename FeedForward::template Layer<Device, Width>;

  Norm input_layernorm;
  Attention self_attn;
  Norm post_attention_layernorm;
  Mlp mlp;

  struct Saved {
    In<Device, 2> x;
    Out<Device, 2> u, middle,
        v;  // the first norm's output, the stream between the halves, the second's output
    typename Norm::Saved input_layernorm, post_attention_layernorm;
    typename Attention::Saved self_attn;
    typename Mlp::Saved mlp;
  };

  static void visit(auto& self, const Path& path, auto&& f) {
    self.input_layernorm.visit(self.input_layernorm, path / "input_layernorm", f);
    self.self_attn.visit(self.self_attn, path / "self_attn", f);
    self.post_attention_layernorm.visit(self.post_attention_layernorm, path / "post_attention_layernorm", f);
    self.mlp.visit(self.mlp, path / "mlp", f);
  }

  void forward(Device& device, const Sequences<Device>& tokens, In<Device, 2> x, Saved& saved,
               Out<Device, 2> y) const {
    saved.x = x;
    saved.u = device.allocate(x.shape());
    saved.middle = device.allocate(x.shape());
    saved.v = device.allocate(x.shape());
    input_layernorm.forward(device, x, saved.input_layernorm, saved.u);
    self_attn.forward(device, tokens, saved.u, saved.self_attn, saved.middle, x);
    post_attention_layernorm.forward(device, saved.middle, saved.post_attention_layernorm, saved.v);
    mlp.forward(device, saved.v, saved.mlp, y, saved.middle);
  }

  void backward(Device& device, const Sequences<Device>& tokens, const Saved& saved,
                Out<Device, 2> dx) const {
    const auto scope = device.scope();
    const auto dnormed = device.allocate(dx.shape());
    mlp.backward(device, saved.v, saved.mlp, dx, dnormed);
    post_attention_layernorm.backward(device, saved.middle, saved.post_attention_layernorm, dnormed, dx);
    self_attn.backward(device, tokens, saved.u, saved.self_attn, dx, dnormed);
    input_layernorm.backward(device, saved.x, saved.input_layernorm, dnormed, dx);
  }

  void infer(Device& device, const Sequences<Device>& tokens, In<Device, 2> x, const KeyValues<Device>& cache,
             Out<Device, 2> y) const {
    const auto scope = device.scope();
    Saved now;
    now.u = device.allocate(x.shape());
    now.middle = device.allocate(x.shape());
    input_layernorm.forward(device, x, now.input_layernorm, now.u);
    self_attn.infer(device, tokens, now.u, cache, now.middle, x);
    post_attention_layernorm.forward(device, now.middle, now.post_attention_layernorm, now.u);
    mlp.forward(device, now.u, now.mlp, y, now.middle);
  }
};

}  // namespace midus
