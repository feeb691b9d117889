// The linear layer without bias.
#pragma once

#include "midus/layers/layer.hpp"
#include "midus/ops/gemm.hpp"

namespace midus {

/// y = x Wᵀ with W [Outputs, Inputs]. A layer that holds several names them: `LinearLayer<...> q_proj{spec}`.
template <class Device, int Inputs, int Outputs>
struct LinearLayer {
  using S = typename Device::Scalar;

  Parameter<Device, 2> weight{TensorSpec{"weight", {Outputs, Inputs}}};

  struct Saved {};  // its input, which the caller keeps anyway

  static void visit(auto& self, const Path& path, auto&& f) { visit_each(path, f, self.weight); }

  /// y [R,Outputs] = plus + x Wᵀ; `plus` may be y itself, or empty.
  void forward(Device& device, In<Device, 2> x, Out<Device, 2> y, In<Device, 2> plus = {}) const {
    run(device, Gemm<S>{.x = x, .w = weight.value, .y = y, .plus = plus});
  }

  /// Overwrites dx [R,Inputs], or adds to it.
  void backward(Device& device, In<Device, 2> x, In<Device, 2> dy, Out<Device, 2> dx,
                bool accumulate = false) const {
    backward_weight(device, x, dy);
    run(device, GemmBackwardInput<S>{.dy = dy, .w = weight.value, .dx = dx, .accumulate = accumulate});
  }

  /// The part of backward that ends at the weight.
  void backward_weight(Device& device, In<Device, 2> x, In<Device, 2> dy) const {
    if (!weight.frozen()) run(device, GemmBackwardWeight<S>{.dy = dy, .x = x, .dw = weight.grad});
  }
};

}  // namespace midus
