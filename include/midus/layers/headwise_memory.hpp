// The Head-wise Memory Layer (HML) of MIDUS.
#pragma once

#include <concepts>
#include <string_view>

#include "midus/layers/layer.hpp"
#include "midus/layers/memory_read.hpp"
#include "midus/ops/product_key_top_k.hpp"

namespace midus {

/// What `HeadwiseMemory` asks of a value policy: a name, by which files know it, and what its tensors are for
/// any sizes.
template <class P>
concept NamesItself = requires(const ValueSizes& sizes) {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::rank } -> std::convertible_to<int>;
  { P::tensors(sizes)[0] } -> std::convertible_to<TensorSpec>;
};

/// And of its layer: say how to pool the values that a read names, and how to scatter back. The look-up does
/// not know which policy is used. docs/adding_a_value_policy.md shows one.
template <class V, class D>
concept PoolsValues = requires(const V values, D& device, MemoryRead<D> read, typename V::Saved& saved,
                               Out<D, 3> y) {
  values.forward(device, read, saved, y);
};
template <class V, class D>
concept ScattersValues = requires(const V values, D& device, MemoryRead<D> read,
                                  const typename V::Saved& saved, Out<D, 3> dweights) {
  values.backward(device, read, saved, In<D, 3>(dweights), dweights);
};
/// The same where values depend on `read.query`: backward also overwrites the gradient of that.
template <class V, class D>
concept ScattersValuesAndQuery = requires(const V values, D& device, MemoryRead<D> read,
                                          const typename V::Saved& saved, Out<D, 3> d) {
  values.backward(device, read, saved, In<D, 3>(d), d, d);
};

/// Whether every tensor of a value policy says what it starts with, other than as a copy.
template <class Value>
constexpr bool start_somewhere(const ValueSizes& sizes) {
  for (const TensorSpec& spec : Value::tensors(sizes))
    if (spec.start.kind == Start::Kind::copy) return false;
  return true;
}

/// Per head: the head's attention output is the query (no projection), an own set of product keys finds the k
/// best of n² slots, the value policy reads them, and the result goes to the head's own slice of the residual
/// stream (arXiv 2512.13751; docs/method.md).
template <class Device, int Width, int Heads, int Keys, int TopK, class Value>
struct HeadwiseMemoryLayer {
  static_assert(TopK >= 1, "HeadwiseMemory: TopK must be at least 1");
  static_assert(TopK <= Keys, "HeadwiseMemory: TopK must not exceed Keys");
  static_assert(Width % Heads == 0, "HeadwiseMemory: Width must be a multiple of Heads");
  static_assert(Width / Heads % 2 == 0, "HeadwiseMemory: the width of a head must be even");
  static constexpr int head_dim = Width / Heads;
  using S = typename Device::Scalar;
  static_assert(NamesItself<Value>,
                "HeadwiseMemory: the value policy needs the constants name and rank, and tensors(sizes)");
  static_assert(start_somewhere<Value>({slots_of<Keys>(), Heads, head_dim, Value::rank}),
                "HeadwiseMemory: each tensor of the value policy needs a Start of its own (zero, normal, "
                "uniform): the base has none to copy");
  using ValueLayer = typename Value::template Layer<Device, slots_of<Keys>(), Heads, head_dim>;
  static constexpr bool values_read_query = ScattersValuesAndQuery<ValueLayer, Device>;
  static_assert(Layer<ValueLayer>, "HeadwiseMemory: the value policy needs Saved and visit(self, path, f)");
  static_assert(PoolsValues<ValueLayer, Device>,
                "HeadwiseMemory: the value policy needs forward(device, read, saved, y) const");
  static_assert(ScattersValues<ValueLayer, Device> || values_read_query,
                "HeadwiseMemory: the value policy needs backward(device, read, saved, dy, dweights) const");

  static constexpr auto specs = sub_key_tensors(Heads, Keys, head_dim);

  Parameter<Device, 3> row_keys{specs[0]}, col_keys{specs[1]};
  ValueLayer value;

  struct Saved {
    MemoryRead<Device> read;
    typename ValueLayer::Saved value;
  };

  static void visit(auto& self, const Path& path, auto&& f) {
    visit_each(path, f, self.row_keys, self.col_keys);
    self.value.visit(self.value, path, f);
  }

  /// Adds the memory's output to y [R,H,D]; query [R,H,D].
  void forward(Device& device, In<Device, 3> query, Saved& saved, Out<Device, 3> y) const {
    const Shape<3> shape{{query.extent(0), Heads, TopK}};
    saved.read = {device.template allocate_as<std::int32_t>(shape), device.allocate(shape), query};
    run(device, ProductKeyTopK<S>{.query = query,
                                  .row_keys = row_keys.value,
                                  .col_keys = col_keys.value,
                                  .slots = saved.read.slots,
                                  .weights = saved.read.weights});
    value.forward(device, saved.read, saved.value, y);
  }

  /// Overwrites dquery [R,H,D]; dy [R,H,D] is the gradient of what forward added.
  void backward(Device& device, In<Device, 3> query, const Saved& saved, In<Device, 3> dy,
                Out<Device, 3> dquery) const {
    const auto scope = device.scope();
    const auto dweights = device.allocate(saved.read.weights.shape());
    if constexpr (values_read_query)
      value.backward(device, saved.read, saved.value, dy, dweights, dquery);
    else
      value.backward(device, saved.read, saved.value, dy, dweights);
    run(device, ProductKeyTopKBackward<S>{.query = query,
                                          .row_keys = row_keys.value,
                                          .col_keys = col_keys.value,
                                          .slots = saved.read.slots,
                                          .weights = saved.read.weights,
                                          .dweights = dweights,
                                          .dquery = dquery,
                                          .drow_keys = row_keys.grad,
                                          .dcol_keys = col_keys.grad,
                                          .accumulate = values_read_query});
  }
};

/// Says in a model's type how its Memory blocks remember: `HeadwiseMemory<8, 128, 16, FactorizedValue<64>>`.
template <int Heads, int Keys, int TopK, class Value>
struct HeadwiseMemory {
  static constexpr int heads = Heads, keys = Keys, top_k = TopK;
  using ValuePolicy = Value;

  /// The memory behind the heads of an attention: `AttentionHeadCount` heads of width `HeadWidth`.
  template <class Device, int Width, int AttentionHeadCount, int HeadWidth>
  struct Fit {
    static_assert(Heads == AttentionHeadCount,
                  "HeadwiseMemory: the memory needs as many Heads as the base model's Attention");
    static_assert(
        AttentionHeadCount * HeadWidth == Width,
        "HeadwiseMemory: Heads times the width of a head must equal Width, since the memory writes to the "
        "residual stream");
    using Layer = HeadwiseMemoryLayer<Device, Width, Heads, Keys, TopK, Value>;
  };
  template <class Device, int Width, int AttentionHeadCount, int HeadWidth>
  using Layer = typename Fit<Device, Width, AttentionHeadCount, HeadWidth>::Layer;
};

}  // namespace midus
