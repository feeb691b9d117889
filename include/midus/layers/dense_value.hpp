// An independent bank of full values for every head.
#pragma once

#include "midus/layers/layer.hpp"
#include "midus/layers/memory_read.hpp"
#include "midus/ops/value_pool.hpp"

namespace midus {

/// Value policy "MIDUS without HIVE" (the ablation of arXiv 2512.13751): y_h = Σ_i w_i V^h_{j_i}.
struct DenseValue {
  static constexpr int rank = 0;  // how config.json writes it

  template <class Device, int Slots, int Heads, int HeadWidth>
  struct Layer {
    using S = typename Device::Scalar;

    Parameter<Device, 3> values{{{Heads, Slots, HeadWidth}}};  // V [H,N,D]

    struct Saved {};

    static void visit(auto& self, const Path& path, auto&& f) { f(path / "values", self.values); }

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
