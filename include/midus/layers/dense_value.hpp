// An independent bank of full values for every head.
#pragma once

#include <array>
#include <string_view>

#include "midus/layers/layer.hpp"
#include "midus/layers/memory_read.hpp"
#include "midus/ops/value_pool.hpp"

namespace midus {

/// Value policy "MIDUS without HIVE" (the ablation of arXiv 2512.13751): y_h = Σ_i w_i V^h_{j_i}.
struct DenseValue {
  static constexpr std::string_view name = "dense";
  static constexpr int rank = 0;

  /// V [H,N,D]. Zero: the memory adds nothing at first.
  static constexpr std::array<TensorSpec, 1> tensors(const ValueSizes& m) {
    return {TensorSpec{"values", {m.heads, m.slots, m.head_width}, Role::table, Start::zero()}};
  }

  template <class Device, int Slots, int Heads, int HeadWidth>
  struct Layer {
    using S = typename Device::Scalar;

    static constexpr auto specs = tensors({Slots, Heads, HeadWidth, 0});

    Parameter<Device, 3> values{specs[0]};

    struct Saved {};

    static void visit(auto& self, const Path& path, auto&& f) { visit_each(path, f, self.values); }

    /// Adds the heads' reads to y [R,H,D].
    void forward(Device& device, const MemoryRead<Device>& read, Saved&, Out<Device, 3> y) const {
      run(device, ValuePool<S>{.slots = read.slots,
                               .weights = read.weights,
                               .values = values.value,
                               .pooled = y,
                               .accumulate = true});
    }

    /// Overwrites dweights [R,H,k].
    void backward(Device& device, const MemoryRead<Device>& read, const Saved&, In<Device, 3> dy,
                  Out<Device, 3> dweights) const {
      run(device, ValuePoolBackward<S>{.slots = read.slots,
                                       .weights = read.weights,
                                       .values = values.value,
                                       .dpooled = dy,
                                       .dweights = dweights,
                                       .dvalues = values.grad});
    }
  };
};

}  // namespace midus
