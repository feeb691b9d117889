#pragma once

#include "midus/ops/head_gemm.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const HeadGemm<S>& op) {
  const Index H = op.x.extent(1), K = op.x.extent(2), N = op.y.extent(2);
  device.work([&] {
    for (Index r = 0; r < op.x.extent(0); ++r)
      for (Index h = 0; h < H; ++h)
        for (Index n = 0; n < N; ++n) {
          S sum(0);
          for (Index k = 0; k < K; ++k) sum += op.x(r, h, k) * op.w.at((h * K + k) * N + n);
          op.y(r, h, n) = op.accumulate ? op.y(r, h, n) + sum : sum;
        }
  });
}

template <class S>
void run(Reference<S>& device, const HeadGemmBackwardInput<S>& op) {
  const Index H = op.dx.extent(1), K = op.dx.extent(2), N = op.dy.extent(2);
  device.work([&] {
    for (Index r = 0; r < op.dx.extent(0); ++r)
      for (Index h = 0; h < H; ++h)
        for (Index k = 0; k < K; ++k) {
          S sum(0);
          for (Index n = 0; n < N; ++n) sum += op.dy(r, h, n) * op.w.at((h * K + k) * N + n);
          op.dx(r, h, k) = sum;
        }
  });
}

template <class S>
void run(Reference<S>& device, const HeadGemmBackwardWeight<S>& op) {
  device.work([&] {
    for (Index h = 0; h < op.dw.extent(0); ++h)
      for (Index k = 0; k < op.dw.extent(1); ++k)
        for (Index n = 0; n < op.dw.extent(2); ++n) {
          S sum(0);
          for (Index r = 0; r < op.x.extent(0); ++r) sum += op.x(r, h, k) * op.dy(r, h, n);
          op.dw(h, k, n) += sum;
        }
  });
}

}  // namespace midus
