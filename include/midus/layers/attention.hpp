// Causal self-attention with grouped key/value heads, with and without the output projection.
#pragma once

#include <array>

#include "midus/layers/linear.hpp"
#include "midus/ops/causal_attention.hpp"
#include "midus/ops/rotary.hpp"

namespace midus {

/// Option of `Attention`: the number of key/value heads, at most one per query head (the default).
template <int Count>
struct KvHeads {};
/// Option of `Attention`: the width of a head, even (default: Width / Heads).
template <int Width>
struct HeadDim {};

namespace detail {
template <template <int> class Option, int Default, class... Given>
inline constexpr int option = Default;
template <template <int> class Option, int Default, class Other, class... Given>
inline constexpr int option<Option, Default, Other, Given...> = option<Option, Default, Given...>;
template <template <int> class Option, int Default, int Value, class... Given>
inline constexpr int option<Option, Default, Option<Value>, Given...> = Value;
}  // namespace detail

/// The tensors of Attn′: `heads` query heads and `kv` key/value heads, `dim` wide.
constexpr std::array<TensorSpec, 3> attention_head_tensors(Index width, Index heads, Index kv, Index dim) {
  return {TensorSpec{"q_proj.weight", {heads * dim, width}}, TensorSpec{"k_proj.weight", {kv * dim, width}},
          TensorSpec{"v_proj.weight", {kv * dim, width}}};
}
/// The output projection that Llama's attention has beside them.
constexpr TensorSpec attention_output_tensor(Index width, Index heads, Index dim) {
  return {"o_proj.weight", {width, heads * dim}, Role::output};
}

/// Keys and values of the tokens that a block has seen, for generation: views into a `KvCache`.
template <class Device>
struct KeyValues {
  Out<Device, 4> keys, values;  // [B,capacity,KV,D]
};

/// Attn′ of MIDUS (arXiv 2512.13751): attention without the output projection. Query head h reads key/value
/// head ⌊h·KV/H⌋; scores are scaled by 1/√D.
template <class Device, int Width, int Heads, int Kv, int Dim>
struct AttentionHeads {
  static_assert(Heads >= 1 && Kv >= 1 && Heads % Kv == 0, "Attention: Heads must be a multiple of KvHeads");
  static_assert(Dim >= 2 && Dim % 2 == 0, "Attention: the width of a head must be even");
  using S = typename Device::Scalar;

  static constexpr std::array<TensorSpec, 3> specs = attention_head_tensors(Width, Heads, Kv, Dim);

  LinearLayer<Device, Width, Heads * Dim> q_proj{specs[0]};
  LinearLayer<Device, Width, Kv * Dim> k_proj{specs[1]}, v_proj{specs[2]};

  struct Saved {
    Out<Device, 3> q, k, v;  // [R,H,D], [R,KV,D] with positions in q and k
    Out<Device, 3> y;        // [R,H,D] the heads' outputs
    Out<Device, 3> log_sum;  // [B,H,T]
  };

  static void visit(auto& self, const Path& path, auto&& f) {
    visit_each(path, f, self.q_proj.weight, self.k_proj.weight, self.v_proj.weight);
  }

  /// From u [R,Width] to saved.y.
  void forward(Device& device, const Sequences<Device>& tokens, In<Device, 2> u, Saved& saved) const {
    project(device, tokens, u, saved);
    saved.y = device.allocate(saved.q.shape());
    saved.log_sum = device.allocate(Shape{tokens.batch, Index{Heads}, tokens.length});
    run(device, CausalAttention<S>{.q = by_sequence(tokens, saved.q),
                                   .k = by_sequence(tokens, saved.k),
                                   .v = by_sequence(tokens, saved.v),
                                   .y = by_sequence(tokens, saved.y),
                                   .log_sum = saved.log_sum});
  }

  /// Overwrites du [R,Width].
  void backward(Device& device, const Sequences<Device>& tokens, In<Device, 2> u, const Saved& saved,
                In<Device, 3> dy, Out<Device, 2> du) const {
    const auto scope = device.scope();
    const auto dq = device.allocate(saved.q.shape());
    const auto dk = device.allocate(saved.k.shape());
    const auto dv = device.allocate(saved.v.shape());
    run(device, CausalAttentionBackward<S>{.q = by_sequence(tokens, saved.q),
                                           .k = by_sequence(tokens, saved.k),
                                           .v = by_sequence(tokens, saved.v),
                                           .y = by_sequence(tokens, saved.y),
                                           .log_sum = saved.log_sum,
                                           .dy = by_sequence(tokens, dy),
                                           .dq = by_sequence(tokens, dq),
                                           .dk = by_sequence(tokens, dk),
                                           .dv = by_sequence(tokens, dv)});
    rotate(device, tokens, dq, true);
    rotate(device, tokens, dk, true);
    q_proj.backward(device, u, flat(dq), du);
    k_proj.backward(device, u, flat(dk), du, true);
    v_proj.backward(device, u, flat(dv), du, true);
  }

  /// Inference: from u [R,Width] to y [R,H,D]; the tokens' keys and values are appended to `cache`.
  void infer(Device& device, const Sequences<Device>& tokens, In<Device, 2> u, const KeyValues<Device>& cache,
             Out<Device, 3> y) const {
    const auto scope = device.scope();
    Saved now;
    project(device, tokens, u, now);
    for (Index b = 0; b < tokens.batch; ++b) {
      append(device, tokens, now.k, cache.keys, b);
      append(device, tokens, now.v, cache.values, b);
    }
    run(device, CausalAttention<S>{.q = by_sequence(tokens, now.q),
                                   .k = cache.keys,
                                   .v = cache.values,
                                   .y = by_sequence(tokens, y),
                                   .past = tokens.past});
  }

 private:
  void project(Device& device, const Sequences<Device>& tokens, In<Device, 2> u, Saved& saved) const {
    saved.q = device.allocate(Shape{tokens.rows(), Index{Heads}, Index{Dim}});
    saved.k = device.allocate(Shape{tokens.rows(), Index{Kv}, Index{Dim}});
    saved.v = device.allocate(saved.k.shape());
    q_proj.forward(device, u, flat(saved.q));
    k_proj.forward(device, u, flat(saved.k));
    v_proj.forward(device, u, flat(saved.v));
    rotate(device, tokens, saved.q, false);
    rotate(device, tokens, saved.k, false);
  }

  static void rotate(Device& device, const Sequences<Device>& tokens, Out<Device, 3> x, bool inverse) {
    run(device,
        Rotary<S>{
            .x = x, .positions = tokens.positions, .cos = tokens.cos, .sin = tokens.sin, .inverse = inverse});
  }

  static void append(Device& device, const Sequences<Device>& tokens, In<Device, 3> from,
                     Out<Device, 4> cache, Index sequence) {
    const Shape<3> shape{{tokens.length, Kv, Dim}};
    device.copy(from.slice(sequence * tokens.length, tokens.length),
                Out<Device, 3>(cache.row(sequence, tokens.past(sequence)), shape));
  }

  template <class T>
  static View<T, 2> flat(View<T, 3> x) {  // [R,H,D] as [R,H·D]
    return x.reshape(Shape{x.extent(0), x.extent(1) * x.extent(2)});
  }
  template <class T>
  static View<T, 4> by_sequence(const Sequences<Device>& tokens, View<T, 3> x) {  // [R,H,D] as [B,T,H,D]
    return x.reshape(Shape{tokens.batch, tokens.length, x.extent(1), x.extent(2)});
  }
};

/// Llama's self-attention: the heads and the output projection.
template <class Device, int Width, int Heads, int Kv, int Dim>
struct AttentionLayer : AttentionHeads<Device, Width, Heads, Kv, Dim> {
  using HeadsOnly = AttentionHeads<Device, Width, Heads, Kv, Dim>;
  using typename HeadsOnly::Saved;

  LinearLayer<Device, Heads * Dim, Width> o_proj{attention_output_tensor(Width, Heads, Dim)};

  static void visit(auto& self, const Path& path, auto&& f) {
    HeadsOnly::visit(self, path, f);
    visit_each(path, f, self.o_proj.weight);
  }

  /// y [R,Width] = plus + attention of u [R,Width].
  void forward(Device& device, const Sequences<Device>& tokens, In<Device, 2> u, Saved& saved,
               Out<Device, 2> y, In<Device, 2> plus) const {
    HeadsOnly::forward(device, tokens, u, saved);
    o_proj.forward(device, rows(saved.y), y, plus);
  }

  /// Overwrites du [R,Width].
  void backward(Device& device, const Sequences<Device>& tokens, In<Device, 2> u, const Saved& saved,
                In<Device, 2> dy, Out<Device, 2> du) const {
    const auto scope = device.scope();
    const auto dheads = device.allocate(saved.y.shape());
    o_proj.backward(device, rows(saved.y), dy, rows(dheads));
    HeadsOnly::backward(device, tokens, u, saved, dheads, du);
  }

  /// Inference: y [R,Width] = plus + attention of u over what `cache` holds and the tokens themselves.
  void infer(Device& device, const Sequences<Device>& tokens, In<Device, 2> u, const KeyValues<Device>& cache,
             Out<Device, 2> y, In<Device, 2> plus) const {
    const auto scope = device.scope();
    const auto heads = device.allocate(Shape{tokens.rows(), Index{Heads}, Index{Dim}});
    HeadsOnly::infer(device, tokens, u, cache, heads);
    o_proj.forward(device, rows(heads), y, plus);
  }

 private:
  template <class T>
  static View<T, 2> rows(View<T, 3> x) {
    return x.reshape(Shape{x.extent(0), Index{Heads * Dim}});
  }
};

/// Says in a model's type how its attention is: `Attention<8>`, `Attention<8, KvHeads<4>>`,
/// `Attention<6, KvHeads<2>, HeadDim<20>>`.
template <int Heads, class... Options>
struct Attention {
  static_assert(Heads >= 1, "Attention: Heads must be at least 1");
  static constexpr int heads = Heads;
  static constexpr int kv_heads = detail::option<KvHeads, Heads, Options...>;

  /// D, for a model of this width.
  template <int Width>
  static constexpr int head_dim() {
    constexpr int given = detail::option<HeadDim, 0, Options...>;
    static_assert(given > 0 || Width % Heads == 0,
                  "Attention: Width must be a multiple of Heads, or give the width of a head: HeadDim<D>");
    return given > 0 ? given : Width / Heads;
  }

  template <class Device, int Width>
  using Layer = AttentionLayer<Device, Width, Heads, kv_heads, head_dim<Width>()>;
  /// Without the output projection: Attn′.
  template <class Device, int Width>
  using HeadsLayer = AttentionHeads<Device, Width, Heads, kv_heads, head_dim<Width>()>;
};

}  // namespace midus
