#pragma once

#include "midus/ops/gemm.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const Gemm<S>& op) {
  const Index K = op.x.extent(1);
  device.work([&] {
    for (Index r = 0; r < op.y.extent(0); ++r)
      for (Index n = 0; n < op.y.extent(1); ++n) {
        S sum(0);
        for (Index k = 0; k < K; ++k) sum += op.x(r, k) * op.w.at(n * K + k);
        op.y(r, n) = op.plus.empty() ? sum : op.plus(r, n) + sum;
      }
  });
}

template <class S>
void run(Reference<S>& device, const GemmBackwardInput<S>& op) {
  const Index K = op.dx.extent(1);
  device.work([&] {
    for (Index r = 0; r < op.dx.extent(0); ++r)
      for (Index k = 0; k < K; ++k) {
        S sum(0);
        for (Index n = 0; n < op.dy.extent(1); ++n) sum += op.dy(r, n) * op.w.at(n * K + k);
        op.dx(r, k) = op.accumulate ? op.dx(r, k) + sum : sum;
      }
  });
}

template <class S>
void run(Reference<S>& device, const GemmBackwardWeight<S>& op) {
  device.work([&] {
    for (Index n = 0; n < op.dw.extent(0); ++n)
      for (Index k = 0; k < op.dw.extent(1); ++k) {
        S sum(0);
        for (Index r = 0; r < op.dy.extent(0); ++r) sum += op.dy(r, n) * op.x(r, k);
        op.dw(n, k) += sum;
      }
  });
}

}  // namespace midus
