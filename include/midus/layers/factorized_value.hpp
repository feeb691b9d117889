// HIVE: one latent bank for all heads of a block, expanded per head by a projection.
#pragma once

#include <array>
#include <string_view>

#include "midus/layers/layer.hpp"
#include "midus/layers/memory_read.hpp"
#include "midus/ops/head_gemm.hpp"
#include "midus/ops/value_pool.hpp"

namespace midus {

/// Value policy "Head-wise Implicit Value Expansion" (arXiv 2512.13751): head h's value of slot j is V_j P^h,
/// never materialised: y_h = (Σ_i w_i V_{j_i}) P^h pools in the latent space first and projects once.
template <int Rank>
struct FactorizedValue {
  static_assert(Rank >= 1, "FactorizedValue: Rank must be at least 1");
  static constexpr std::string_view name = "factorized";
  static constexpr int rank = Rank;

  /// V [N,r] and P [H,r,D]. Zero V: the memory adds nothing at first; random P: V can learn.
  static constexpr std::array<TensorSpec, 2> tensors(const ValueSizes& m) {
    return {TensorSpec{"values", {m.slots, m.rank}, Role::table, Start::zero()},
            TensorSpec{
                "value_proj", {m.heads, m.rank, m.head_width}, Role::head_output, Start::normal_by(m.rank)}};
  }

  template <class Device, int Slots, int Heads, int HeadWidth>
  struct Layer {
    using S = typename Device::Scalar;

    static constexpr auto specs = tensors({Slots, Heads, HeadWidth, Rank});

    Parameter<Device, 2> values{specs[0]};
    Parameter<Device, 3> value_proj{specs[1]};

    struct Saved {
      Out<Device, 3> pooled;  // z [R,H,r]
    };

    static void visit(auto& self, const Path& path, auto&& f) {
      visit_each(path, f, self.values, self.value_proj);
    }

    /// Adds the heads' reads to y [R,H,D].
    void forward(Device& device, const MemoryRead<Device>& read, Saved& saved, Out<Device, 3> y) const {
      saved.pooled = device.allocate(Shape{y.extent(0), y.extent(1), Index{Rank}});
      run(device, ValuePool<S>{.slots = read.slots,
                               .weights = read.weights,
                               .values = values.value.reshape(Shape<3>{{1, Slots, Rank}}),
                               .pooled = saved.pooled});
      run(device, HeadGemm<S>{.x = saved.pooled, .w = value_proj.value, .y = y, .accumulate = true});
    }

    /// Overwrites dweights [R,H,k].
    void backward(Device& device, const MemoryRead<Device>& read, const Saved& saved, In<Device, 3> dy,
                  Out<Device, 3> dweights) const {
      if (!value_proj.frozen())
        run(device, HeadGemmBackwardWeight<S>{.x = saved.pooled, .dy = dy, .dw = value_proj.grad});
      const auto scope = device.scope();
      const auto dpooled = device.allocate(saved.pooled.shape());
      run(device, HeadGemmBackwardInput<S>{.dy = dy, .w = value_proj.value, .dx = dpooled});
      run(device, ValuePoolBackward<S>{.slots = read.slots,
                                       .weights = read.weights,
                                       .values = values.value.reshape(Shape<3>{{1, Slots, Rank}}),
                                       .dpooled = dpooled,
                                       .dweights = dweights,
                                       .dvalues = values.grad.reshape(Shape<3>{{1, Slots, Rank}})});
    }
  };
};

}  // namespace midus
