#pragma once

#include <cmath>

#include "midus/ops/swiglu.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
S sigmoid(const S& z) {
  using std::exp;
  if (real_part(z) >= 0) return S(1) / (S(1) + exp(-z));
  return exp(z) / (S(1) + exp(z));  // the same, where exp(-z) would overflow
}

template <class S>
void run(Reference<S>& device, const Swiglu<S>& op) {
  device.work([&] {
    for (Index r = 0; r < op.y.extent(0); ++r)
      for (Index c = 0; c < op.y.extent(1); ++c)
        op.y(r, c) = op.gate(r, c) * sigmoid(op.gate(r, c)) * op.up(r, c);
  });
}

template <class S>
void run(Reference<S>& device, const SwigluBackward<S>& op) {
  device.work([&] {
    for (Index r = 0; r < op.dy.extent(0); ++r)
      for (Index c = 0; c < op.dy.extent(1); ++c) {
        const S z = op.gate(r, c), s = sigmoid(z), dy = op.dy(r, c);
        op.dup(r, c) = dy * z * s;
        op.dgate(r, c) = dy * op.up(r, c) * s * (S(1) + z * (S(1) - s));
      }
  });
}

}  // namespace midus
