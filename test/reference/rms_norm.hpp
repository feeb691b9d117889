#pragma once

#include <cmath>

#include "midus/ops/rms_norm.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const RmsNorm<S>& op) {
  using std::sqrt;
  const Index d = op.x.extent(1);
  device.work([&] {
    for (Index r = 0; r < op.x.extent(0); ++r) {
      S squares(0);
      for (Index c = 0; c < d; ++c) squares += op.x(r, c) * op.x(r, c);
      const S inverse_rms = S(1) / sqrt(squares / S(static_cast<double>(d)) + S(op.epsilon));
      for (Index c = 0; c < d; ++c) op.y(r, c) = op.weight.at(c) * op.x(r, c) * inverse_rms;
      op.inverse_rms(r) = inverse_rms;
    }
  });
}

template <class S>
void run(Reference<S>& device, const RmsNormBackward<S>& op) {
  const Index d = op.x.extent(1);
  device.work([&] {
    for (Index r = 0; r < op.x.extent(0); ++r) {
      const S s = op.inverse_rms(r);
      S sum(0);  // of g x̂
      for (Index c = 0; c < d; ++c) sum += op.dy(r, c) * op.weight.at(c) * op.x(r, c) * s;
      for (Index c = 0; c < d; ++c) {
        const S normed = op.x(r, c) * s;
        if (!op.dweight.empty()) op.dweight(c) += op.dy(r, c) * normed;
        op.dx(r, c) += s * (op.dy(r, c) * op.weight.at(c) - normed * sum / S(static_cast<double>(d)));
      }
    }
  });
}

}  // namespace midus
