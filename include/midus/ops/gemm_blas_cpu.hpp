// Cpu forms of ops/gemm.hpp by a BLAS (device/blas.hpp): the same tiles for any number of threads, each a
// call of the library on one thread.
#pragma once

#include <algorithm>

#include "midus/device/blas.hpp"
#include "midus/device/cpu.hpp"
#include "midus/ops/gemm.hpp"

namespace midus {

/// Rows and columns of a tile of the result, and the longest stretch of W that is widened from bfloat16 at
/// once.
inline constexpr Index blas_rows = 256, blas_cols = 256, blas_depth = 1024;

/// Calls f(row, rows, col, cols, scratch) for every tile of a result.
template <class S, class F>
void for_blas_tiles(Cpu<S>& device, Index rows, Index cols, F&& f) {
  const Index col_tiles = (cols + blas_cols - 1) / blas_cols, row_tiles = (rows + blas_rows - 1) / blas_rows;
  device.parallel_for(row_tiles * col_tiles, [&](Index task, Arena& scratch) {
    const Index row = task / col_tiles * blas_rows, col = task % col_tiles * blas_cols;
    f(row, std::min(blas_rows, rows - row), col, std::min(blas_cols, cols - col), scratch);
  });
}

/// C = A·B or += A·B as blas_multiply has it; a sum of nothing, which libraries read differently, is 0.
template <class S>
void multiply_tile_by_blas(Index m, Index n, Index depth, const BlasFactor<S>& a, const BlasFactor<S>& b,
                           S* c, Index ldc, bool add) {
  if (depth > 0) return blas_multiply<S>(m, n, depth, a, b, c, ldc, add);
  for (Index i = 0; i < m && !add; ++i) std::fill_n(c + i * ldc, n, S(0));
}

template <class S>
void gemm_by_blas(Cpu<S>& device, const Gemm<S>& op) {
  const Index R = op.x.extent(0), K = op.x.extent(1), N = op.y.extent(1);
  for_blas_tiles(device, R, N, [&](Index r, Index rows, Index n, Index cols, Arena& scratch) {
    S* const y = op.y.data() + r * N + n;
    if (!op.plus.empty())
      for (Index i = 0; i < rows; ++i) {
        const S* const from = op.plus.data() + (r + i) * N + n;
        if (from != y + i * N) std::copy_n(from, cols, y + i * N);
      }
    S* const wide = op.w.is_bfloat16() ? take<S>(scratch, cols * K) : nullptr;
    const S* const w = op.w.widen(n * K, cols * K, wide);
    multiply_tile_by_blas<S>(rows, cols, K, {op.x.data() + r * K, K}, {w, K, true}, y, N, !op.plus.empty());
  });
}

template <class S>
void gemm_by_blas(Cpu<S>& device, const GemmBackwardInput<S>& op) {
  const Index R = op.dx.extent(0), K = op.dx.extent(1), N = op.dy.extent(1);
  for_blas_tiles(device, R, K, [&](Index r, Index rows, Index k, Index cols, Arena& scratch) {
    S* const dx = op.dx.data() + r * K + k;
    S* const wide = op.w.is_bfloat16() ? take<S>(scratch, std::min(blas_depth, N) * cols) : nullptr;
    for (Index n = 0; n == 0 || n < N; n += blas_depth) {
      const Index depth = std::min(blas_depth, N - n);
      for (Index i = 0; wide != nullptr && i < depth; ++i) op.w.widen((n + i) * K + k, cols, wide + i * cols);
      const BlasFactor<S> w =
          wide ? BlasFactor<S>{wide, cols} : BlasFactor<S>{op.w.full().data() + n * K + k, K};
      multiply_tile_by_blas<S>(rows, cols, depth, {op.dy.data() + r * N + n, N}, w, dx, K,
                               op.accumulate || n > 0);
    }
  });
}

template <class S>
void gemm_by_blas(Cpu<S>& device, const GemmBackwardWeight<S>& op) {
  const Index R = op.dy.extent(0), N = op.dw.extent(0), K = op.dw.extent(1);
  if (R == 0) return;
  for_blas_tiles(device, N, K, [&](Index n, Index rows, Index k, Index cols, Arena&) {
    multiply_tile_by_blas<S>(rows, cols, R, {op.dy.data() + n, N, true}, {op.x.data() + k, K},
                             op.dw.data() + n * K + k, K, true);
  });
}

}  // namespace midus
