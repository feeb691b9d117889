// The normalisation before every sub-layer.
#pragma once

#include "midus/layers/layer.hpp"
#include "midus/ops/rms_norm.hpp"

namespace midus {

/// The scale of a norm of a stream `width` wide.
constexpr TensorSpec norm_tensor(Index width) { return {"weight", {width}, Role::norm}; }

/// y = w ⊙ x / √(mean(x²) + ε) (arXiv 1910.07467).
template <class Device, int Width>
struct RmsNormLayer {
  using S = typename Device::Scalar;

  Parameter<Device, 1> weight{norm_tensor(Width)};
  double epsilon = 1e-5;

  struct Saved {
    Out<Device, 1> inverse_rms;  // [R]
  };

  static void visit(auto& self, const Path& path, auto&& f) { visit_each(path, f, self.weight); }

  /// y [R,Width].
  void forward(Device& device, In<Device, 2> x, Saved& saved, Out<Device, 2> y) const {
    saved.inverse_rms = device.allocate(Shape{x.extent(0)});
    run(device,
        RmsNorm<S>{
            .x = x, .weight = weight.value, .epsilon = epsilon, .y = y, .inverse_rms = saved.inverse_rms});
  }

  /// Adds to dx [R,Width]: the residual stream's gradient passes a norm on its way down.
  void backward(Device& device, In<Device, 2> x, const Saved& saved, In<Device, 2> dy,
                Out<Device, 2> dx) const {
    run(device, RmsNormBackward<S>{.x = x,
                                   .weight = weight.value,
                                   .inverse_rms = saved.inverse_rms,
                                   .dy = dy,
                                   .dx = dx,
                                   .dweight = weight.grad});
  }
};

}  // namespace midus
