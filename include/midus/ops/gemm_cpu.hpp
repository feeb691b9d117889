// Cpu forms of ops/gemm.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/device/product.hpp"
#include "midus/ops/few_rows_cpu.hpp"
#include "midus/ops/gemm.hpp"
#include "midus/ops/gemm_blas_cpu.hpp"

namespace midus {

/// How the forms below are cut: constants, so that sums do not depend on the number of threads.
template <class S>
struct GemmTiles {
  static constexpr Index rows = 20 * ProductBlock<S>::rows;
  static constexpr Index cols = 4 * ProductBlock<S>::cols;
  /// With so many tiles of columns a task packs its own, which then serve all rows.
  static constexpr Index many = 32;
  /// Longer sums are done in parts, so that what is packed at once stays small.
  static constexpr Index depth = 4096;
  static constexpr Index packed_rows = 32;
  static_assert(ProductBlock<S>::depth % packed_rows == 0);
};

constexpr Index tiles_in(Index size, Index tile) { return (size + tile - 1) / tile; }

/// The size of the tiles that cut `size` evenly: whole blocks, at most `most` of them, and a multiple of four
/// tiles where there are as many blocks, so that a few threads get about as much each.
constexpr Index even_tile(Index size, Index most, Index block) {
  const Index blocks = tiles_in(size, block), tiles = tiles_in(tiles_in(blocks, most), 4) * 4;
  return tiles_in(blocks, tiles) * block;
}

/// Panels of the columns of Wᵀ that are rows first ... first + count - 1 of W [N,K].
template <class S>
void pack_weight_transposed(const WeightView<S, 2>& w, Index first, Index count, S* panels, Arena& scratch) {
  constexpr Index width = ProductBlock<S>::cols;
  const Index K = w.extent(1);
  S* const wide = w.is_bfloat16() ? take<S>(scratch, std::min(width, count) * K) : nullptr;
  for (Index j = 0; j < count; j += width) {
    const Index cols = std::min(width, count - j);
    pack_transposed(w.widen((first + j) * K, cols * K, wide), K, cols, K, panels + j * K);
  }
}

/// The form for few rows: W is read where it lies.
template <class S>
void gemm_few_rows(Cpu<S>& device, const Gemm<S>& op) {
  const Index R = op.x.extent(0), K = op.x.extent(1), N = op.y.extent(1);
  with_stored(op.w, [&](const auto* w) {
    constexpr Index tile = 128 / sizeof(*w);  // of W's rows
    device.parallel_for(tiles_in(N, tile), [&](Index task, Arena&) {
      const Index n = task * tile;
      multiply_few_rows<S>(R, std::min(tile, N - n), K, op.x.data(), K, w + n * K, K, op.y.data() + n, N,
                           op.plus.empty() ? nullptr : op.plus.data() + n, N);
    });
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const Gemm<S>& op) {
  if constexpr (uses_blas<S>) return gemm_by_blas(device, op);
  using Tiles = GemmTiles<S>;
  const Index R = op.x.extent(0), K = op.x.extent(1), N = op.y.extent(1);
  if (R <= few_rows) return gemm_few_rows(device, op);
  const auto multiply_tile = [&](Index r, Index rows, Index n, Index cols, const S* panels) {
    multiply<S>(rows, cols, K, left_rows(op.x.data() + r * K, K), panels, op.y.data() + r * N + n, N,
                op.plus.empty() ? nullptr : op.plus.data() + r * N + n, N);
  };
  if (R == 0 || N == 0) return;
  const Index col_tiles = tiles_in(N, Tiles::cols), row_tiles = tiles_in(R, Tiles::rows);
  if (row_tiles == 1 || col_tiles >= Tiles::many) {
    device.parallel_for(col_tiles, [&](Index task, Arena& scratch) {
      const Index n = task * Tiles::cols, cols = std::min(Tiles::cols, N - n);
      S* const panels = take<S>(scratch, panel_size<S>(K, cols));
      pack_weight_transposed(op.w, n, cols, panels, scratch);
      multiply_tile(0, R, n, cols, panels);
    });
    return;
  }
  const auto scope = device.scope();
  const View<S, 1> panels = device.allocate(Shape{panel_size<S>(K, N)});
  device.parallel_for(col_tiles, [&](Index task, Arena& scratch) {
    const Index n = task * Tiles::cols;
    pack_weight_transposed(op.w, n, std::min(Tiles::cols, N - n), panels.data() + n * K, scratch);
  });
  device.parallel_for(row_tiles * col_tiles, [&](Index task, Arena&) {
    const Index r = task / col_tiles * Tiles::rows, n = task % col_tiles * Tiles::cols;
    multiply_tile(r, std::min(Tiles::rows, R - r), n, std::min(Tiles::cols, N - n), panels.data() + n * K);
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const GemmBackwardInput<S>& op) {
  if constexpr (uses_blas<S>) return gemm_by_blas(device, op);
  using Tiles = GemmTiles<S>;
  const Index R = op.dx.extent(0), K = op.dx.extent(1), N = op.dy.extent(1);
  if (R == 0 || K == 0) return;
  const Index col_tiles = tiles_in(K, Tiles::cols), row_tiles = tiles_in(R, Tiles::rows);
  const bool alone = row_tiles == 1 || col_tiles >= Tiles::many;
  const auto scope = device.scope();
  const View<S, 1> shared =
      alone ? View<S, 1>() : device.allocate(Shape{panel_size<S>(std::min(N, Tiles::depth), K)});
  for (Index first = 0; first == 0 || first < N; first += Tiles::depth) {
    const Index depth = std::min(Tiles::depth, N - first);
    const bool add = op.accumulate || first > 0;
    const auto multiply_tile = [&](Index r, Index rows, Index k, Index cols, const S* panels) {
      S* const dx = op.dx.data() + r * K + k;
      multiply<S>(rows, cols, depth, left_rows(op.dy.data() + r * N + first, N), panels, dx, K,
                  add ? dx : nullptr, K);
    };
    // Rows of W first + n ... and its columns k ... into panels, a few rows at a time.
    const auto pack = [&](Index n, Index rows, Index k, Index cols, S* panels, Arena& scratch) {
      if (!op.w.is_bfloat16()) {
        pack_rows(op.w.full().data() + (first + n) * K + k, K, cols, depth, n, rows, panels);
        return;
      }
      S* const wide = take<S>(scratch, cols);
      for (Index i = n; i < n + rows; ++i)
        pack_rows(op.w.widen((first + i) * K + k, cols, wide), cols, cols, depth, i, 1, panels);
    };
    if (alone) {
      device.parallel_for(col_tiles, [&](Index task, Arena& scratch) {
        const Index k = task * Tiles::cols, cols = std::min(Tiles::cols, K - k);
        S* const panels = take<S>(scratch, panel_size<S>(depth, cols));
        pack(0, depth, k, cols, panels, scratch);
        multiply_tile(0, R, k, cols, panels);
      });
      continue;
    }
    device.parallel_for(tiles_in(depth, Tiles::packed_rows), [&](Index task, Arena& scratch) {
      const Index n = task * Tiles::packed_rows;
      pack(n, std::min(Tiles::packed_rows, depth - n), 0, K, shared.data(), scratch);
    });
    device.parallel_for(row_tiles * col_tiles, [&](Index task, Arena&) {
      const Index r = task / col_tiles * Tiles::rows, k = task % col_tiles * Tiles::cols;
      multiply_tile(r, std::min(Tiles::rows, R - r), k, std::min(Tiles::cols, K - k),
                    shared.data() + k * depth);
    });
  }
}

/// dW is summed over the first and the second half of the rows apart, where it is small enough for a second
/// one: a thread that has computed the rows of a half then finds them in its own cache.
inline constexpr Index gemm_halves_size = Index{1} << 20;

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const GemmBackwardWeight<S>& op) {
  if constexpr (uses_blas<S>) return gemm_by_blas(device, op);
  using Tiles = GemmTiles<S>;
  constexpr Index col_tile = 16 * ProductBlock<S>::cols;
  constexpr Index part = ProductBlock<S>::depth, packed_at_once = 6 * part;  // of a half's sum
  const Index R = op.dy.extent(0), N = op.dw.extent(0), K = op.dw.extent(1);
  if (R == 0 || N == 0 || K == 0) return;
  const Index halves = N * K <= gemm_halves_size && R >= 4 * part ? 2 : 1;
  const Index half = tiles_in(tiles_in(R, part), halves) * part;
  // High tiles use a panel of x more often; low ones leave enough tasks where dW is small.
  const Index row_tile = even_tile(N, N < 768 ? 8 : 16, ProductBlock<S>::rows);
  const Index col_tiles = tiles_in(K, col_tile), row_tiles = tiles_in(N, row_tile);
  const auto scope = device.scope();
  const Index stretch = std::min(half, packed_at_once), half_panels = stretch * panel_size<S>(1, K);
  const View<S, 1> panels = device.allocate(Shape{halves * half_panels});
  const View<S, 1> second = device.allocate(Shape{halves == 2 ? N * K : 0});
  for (Index first = 0; first < half; first += stretch) {
    const auto rows_of = [&](Index h) { return std::min(stretch, std::min(half, R - h * half) - first); };
    const Index pack_tasks = tiles_in(stretch, Tiles::packed_rows);
    device.parallel_for(halves * pack_tasks, [&](Index task, Arena&) {
      // packed_rows divides part: the rows of a task lie in one part.
      const Index h = task / pack_tasks, r = task % pack_tasks * Tiles::packed_rows, start = r / part * part;
      if (r >= rows_of(h)) return;
      pack_rows(op.x.data() + (h * half + first + r) * K, K, K, std::min(part, rows_of(h) - start), r - start,
                std::min(Tiles::packed_rows, rows_of(h) - r),
                panels.data() + h * half_panels + start * panel_size<S>(1, K));
    });
    device.parallel_for(halves * row_tiles * col_tiles, [&](Index task, Arena& scratch) {
      const Index h = task / (row_tiles * col_tiles);
      const Index n = task / col_tiles % row_tiles * row_tile, rows = std::min(row_tile, N - n);
      const Index k = task % col_tiles * col_tile, cols = std::min(col_tile, K - k);
      S* const packed = take<S>(scratch, left_size<S>(rows, part));
      S* const dw = (h == 0 ? op.dw.data() : second.data()) + n * K + k;
      for (Index start = 0; start < rows_of(h); start += part) {
        const Index depth = std::min(part, rows_of(h) - start);
        const S* const dy = op.dy.data() + (h * half + first + start) * N + n;
        const S* const panel = panels.data() + h * half_panels + start * panel_size<S>(1, K) + k * depth;
        const bool fresh = h == 1 && first + start == 0;
        multiply<S>(rows, cols, depth, pack_left(dy, N, rows, depth, packed), panel, dw, K,
                    fresh ? nullptr : dw, K);
      }
    });
  }
  if (halves == 1) return;
  device.parallel_for(tiles_in(N, row_tile), [&](Index task, Arena&) {
    const Index begin = task * row_tile * K, end = std::min(N, (task + 1) * row_tile) * K;
    simd::for_packets<S>(end - begin, [&](auto at) {
      S* const dw = op.dw.data() + begin;
      at.store(dw, at.load(dw) + at.load(second.data() + begin));
    });
  });
}

}  // namespace midus
