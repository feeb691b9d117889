// Cpu forms of ops/head_gemm.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/device/product.hpp"
#include "midus/ops/head_gemm.hpp"

namespace midus {

/// Rows that a task of a head multiplies with the weight of that head, which it packs first.
template <class S>
inline constexpr Index head_gemm_rows = 40 * ProductBlock<S>::rows;

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const HeadGemm<S>& op) {
  const Index R = op.x.extent(0), H = op.x.extent(1), K = op.x.extent(2), N = op.y.extent(2);
  if (R == 0) return;
  device.parallel_for((R + head_gemm_rows<S> - 1) / head_gemm_rows<S> * H, [&](Index task, Arena& scratch) {
    const Index h = task % H, r = task / H * head_gemm_rows<S>, rows = std::min(head_gemm_rows<S>, R - r);
    S* const panels = take<S>(scratch, panel_size<S>(K, N));
    S* const wide = op.w.is_bfloat16() ? take<S>(scratch, K * N) : nullptr;
    pack_rows(op.w.widen(h * K * N, K * N, wide), N, N, K, 0, K, panels);
    S* const y = op.y.data() + (r * H + h) * N;
    multiply<S>(rows, N, K, left_rows(op.x.data() + (r * H + h) * K, H * K), panels, y, H * N,
                op.accumulate ? y : nullptr, H * N);
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const HeadGemmBackwardInput<S>& op) {
  const Index R = op.dy.extent(0), H = op.dy.extent(1), K = op.dx.extent(2), N = op.dy.extent(2);
  if (R == 0) return;
  device.parallel_for((R + head_gemm_rows<S> - 1) / head_gemm_rows<S> * H, [&](Index task, Arena& scratch) {
    const Index h = task % H, r = task / H * head_gemm_rows<S>, rows = std::min(head_gemm_rows<S>, R - r);
    S* const panels = take<S>(scratch, panel_size<S>(N, K));
    S* const wide = op.w.is_bfloat16() ? take<S>(scratch, K * N) : nullptr;
    pack_transposed(op.w.widen(h * K * N, K * N, wide), N, K, N, panels);
    multiply<S>(rows, K, N, left_rows(op.dy.data() + (r * H + h) * N, H * N), panels,
                op.dx.data() + (r * H + h) * K, H * K, nullptr, 0);
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const HeadGemmBackwardWeight<S>& op) {
  constexpr Index tile = 8 * ProductBlock<S>::rows,
                  part = ProductBlock<S>::depth;  // of K; of the sum over rows
  const Index R = op.x.extent(0), H = op.x.extent(1), K = op.x.extent(2), N = op.dy.extent(2);
  const Index tiles = (K + tile - 1) / tile;
  if (R == 0) return;
  device.parallel_for(H * tiles, [&](Index task, Arena& scratch) {
    const Index h = task / tiles, k = task % tiles * tile, rows = std::min(tile, K - k);
    S* const panels = take<S>(scratch, panel_size<S>(std::min(part, R), N));
    S* const packed = take<S>(scratch, left_size<S>(rows, std::min(part, R)));
    S* const dw = op.dw.data() + (h * K + k) * N;
    for (Index first = 0; first < R; first += part) {
      const Index depth = std::min(part, R - first);
      pack_rows(op.dy.data() + (first * H + h) * N, H * N, N, depth, 0, depth, panels);
      const Left<S> left = pack_left(op.x.data() + (first * H + h) * K + k, H * K, rows, depth, packed);
      multiply<S>(rows, N, depth, left, panels, dw, N, dw, N);
    }
  });
}

}  // namespace midus
