// Llama's feed-forward layer.
#pragma once

#include <array>

#include "midus/layers/linear.hpp"
#include "midus/ops/swiglu.hpp"

namespace midus {

/// The tensors of a feed-forward layer whose hidden layer is `hidden` wide.
constexpr std::array<TensorSpec, 3> swiglu_tensors(Index width, Index hidden) {
  return {TensorSpec{"gate_proj.weight", {hidden, width}}, TensorSpec{"up_proj.weight", {hidden, width}},
          TensorSpec{"down_proj.weight", {width, hidden}, Role::output}};
}

/// y = plus + (silu(u W_gateᵀ) ⊙ u W_upᵀ) W_downᵀ (arXiv 2002.05202).
template <class Device, int Width, int Hidden>
struct SwiGluLayer {
  static_assert(Hidden >= 1, "SwiGlu: the hidden width must be at least 1");
  using S = typename Device::Scalar;

  static constexpr std::array<TensorSpec, 3> specs = swiglu_tensors(Width, Hidden);

  LinearLayer<Device, Width, Hidden> gate_proj{specs[0]}, up_proj{specs[1]};
  LinearLayer<Device, Hidden, Width> down_proj{specs[2]};

  struct Saved {
    Out<Device, 2> gate, up;  // [R,f]; their product is cheaper to form again than to keep
  };

  static void visit(auto& self, const Path& path, auto&& f) {
    visit_each(path, f, self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight);
  }

  /// y [R,Width] from u [R,Width]; `plus` may be y itself.
  void forward(Device& device, In<Device, 2> u, Saved& saved, Out<Device, 2> y, In<Device, 2> plus) const {
    saved.gate = device.allocate(Shape{u.extent(0), Index{Hidden}});
    saved.up = device.allocate(saved.gate.shape());
    const auto scope = device.scope();
    const auto hidden = device.allocate(saved.gate.shape());
    gate_proj.forward(device, u, saved.gate);
    up_proj.forward(device, u, saved.up);
    run(device, Swiglu<S>{.gate = saved.gate, .up = saved.up, .y = hidden});
    down_proj.forward(device, hidden, y, plus);
  }

  /// Overwrites du [R,Width].
  void backward(Device& device, In<Device, 2> u, const Saved& saved, In<Device, 2> dy,
                Out<Device, 2> du) const {
    const auto scope = device.scope();
    const auto dhidden = device.allocate(saved.gate.shape());
    const auto dup = device.allocate(saved.gate.shape());
    if (!down_proj.weight.frozen()) {
      run(device, Swiglu<S>{.gate = saved.gate, .up = saved.up, .y = dup});  // the hidden layer, for a moment
      down_proj.backward_weight(device, dup, dy);
    }
    run(device, GemmBackwardInput<S>{.dy = dy, .w = down_proj.weight.value, .dx = dhidden});
    run(device,
        SwigluBackward<S>{.gate = saved.gate, .up = saved.up, .dy = dhidden, .dgate = dhidden, .dup = dup});
    gate_proj.backward(device, u, dhidden, du);
    up_proj.backward(device, u, dup, du, true);
  }
};

/// Says in a model's type how its feed-forward layer is: `SwiGlu<704>`.
template <int Hidden>
struct SwiGlu {
  static constexpr int hidden = Hidden;
  template <class Device, int Width>
  using Layer = SwiGluLayer<Device, Width, Hidden>;
};

}  // namespace midus
