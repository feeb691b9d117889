// The product-key look-up and its backward on the processor.
#pragma once

#include <cassert>
#include <cmath>

#include "midus/device/cpu.hpp"
#include "midus/ops/product_key_top_k.hpp"
#include "midus/ops/top_k_cpu.hpp"

namespace midus {

/// The pairs of two sorted lists of k that can be among the k largest sums: (a, b) lies behind (a+1)(b+1) - 1
/// others, so (a+1)(b+1) <= k. In the order of grid rank; `count` of them, about k ln k.
struct ProductKeyCandidates {
  Index count = 0;
  std::int32_t* a;
  std::int32_t* b;

  ProductKeyCandidates(Index k, Arena& scratch) {
    for (Index i = 0; i < k; ++i) count += k / (i + 1);
    a = take<std::int32_t>(scratch, count);
    b = take<std::int32_t>(scratch, count);
    Index at = 0;
    for (Index i = 0; i < k; ++i)
      for (Index j = 0; j < k / (i + 1); ++j, ++at) {
        a[at] = static_cast<std::int32_t>(i);
        b[at] = static_cast<std::int32_t>(j);
      }
  }
};

/// Room for one row of one head.
template <class S>
struct ProductKeyScratch {
  ProductKeyScratch(Index k, Arena& scratch)
      : candidates(k, scratch),
        row(take<S>(scratch, k)),
        col(take<S>(scratch, k)),
        sums(take<S>(scratch, candidates.count)),
        row_index(take<std::int32_t>(scratch, k)),
        col_index(take<std::int32_t>(scratch, k)),
        chosen(take<std::int32_t>(scratch, k)) {}

  ProductKeyCandidates candidates;
  S *row, *col, *sums;
  std::int32_t *row_index, *col_index, *chosen;
};

/// The k largest of the n² sums of two rows of n scores: sums and slots, in order.
template <class S>
void product_key_select(const S* row_scores, const S* col_scores, Index n, Index k,
                        const ProductKeyScratch<S>& at, S* sums, std::int32_t* slots) {
  top_k(row_scores, n, k, at.row, at.row_index);
  top_k(col_scores, n, k, at.col, at.col_index);
  const ProductKeyCandidates& pairs = at.candidates;
  S* next = at.sums;
  for (Index a = 0; a < k; ++a)
    for (Index b = 0; b < k / (a + 1); ++b) *next++ = at.row[a] + at.col[b];
  // +Inf − Inf counts as −Inf: that keeps the order of the sums the order of the scores
  constexpr S infinity = std::numeric_limits<S>::infinity();
  if ((at.row[0] == infinity && !(at.col[k - 1] > -infinity)) ||
      (at.col[0] == infinity && !(at.row[k - 1] > -infinity)))
    for (Index e = 0; e < pairs.count; ++e) {
      const S a = at.row[pairs.a[e]], b = at.col[pairs.b[e]];
      if (std::isinf(a) && b == -a) at.sums[e] = -infinity;
    }
  top_k(at.sums, pairs.count, k, sums, at.chosen);
  for (Index e = 0; e < k; ++e) {
    const Index pair = at.chosen[e];
    slots[e] = at.row_index[pairs.a[pair]] * static_cast<std::int32_t>(n) + at.col_index[pairs.b[pair]];
  }
}

/// Softmax of each of `rows` lists of k numbers in descending order. A NaN or an infinite largest one makes
/// the whole list NaN. `x` is scratch memory, aligned and padded to whole packets, so that the bits of a
/// weight depend neither on where its list lies nor on the lists beside it.
template <class S>
void softmax_descending(S* x, Index rows, Index k) {
  const Index size = rows * k, padded = (size + 15) / 16 * 16;
  std::fill(x + size, x + padded, S(0));
  for (Index r = 0; r < rows; ++r)
    for (Index e = k - 1; e >= 0; --e) x[r * k + e] -= x[r * k];
  Eigen::Map<Eigen::Array<S, Eigen::Dynamic, 1>, Eigen::AlignedMax> all(x, padded);
  // Eigen's exp ends in denormals: below the smallest normal number it is zero here. NaN stays NaN.
  const S lowest = std::is_same_v<S, float> ? S(-87) : S(-708);
  all = (all < lowest).select(S(0), all.exp());
  for (Index r = 0; r < rows; ++r) {
    S total = 0;
    for (Index e = 0; e < k; ++e) total += x[r * k + e];
    const S scale = 1 / total;
    for (Index e = 0; e < k; ++e) x[r * k + e] *= scale;
  }
}

inline constexpr Index product_key_rows = 32;  // of one head in a task

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ProductKeyTopK<S>& op) {
  const Index R = op.query.extent(0), H = op.query.extent(1), D = op.query.extent(2);
  const Index n = op.row_keys.extent(1), half = op.row_keys.extent(2), k = op.slots.extent(2);
  assert(2 * half == D && 1 <= k && k <= n && n <= 46340);  // n² fits a slot
  const Index tiles = (R + product_key_rows - 1) / product_key_rows;
  device.parallel_for(tiles * H, [&](Index task, Arena& scratch) {
    const Index h = task / tiles, begin = task % tiles * product_key_rows;
    const Index rows = std::min(product_key_rows, R - begin);
    const S* const row_keys = op.row_keys.widen(h * n * half, n * half, take<S>(scratch, n * half));
    const S* const col_keys = op.col_keys.widen(h * n * half, n * half, take<S>(scratch, n * half));
    S* const row_scores = take<S>(scratch, rows * n);
    S* const col_scores = take<S>(scratch, rows * n);
    const S* const query = op.query.row(begin, h);
    product_nt(rows, n, half, query, H * D, row_keys, half, row_scores, n, false);
    product_nt(rows, n, half, query + half, H * D, col_keys, half, col_scores, n, false);
    const ProductKeyScratch<S> room(k, scratch);
    S* const weights = take<S>(scratch, rows * k + 16);
    for (Index r = 0; r < rows; ++r)
      product_key_select(row_scores + r * n, col_scores + r * n, n, k, room, weights + r * k,
                         op.slots.row(begin + r, h));
    softmax_descending(weights, rows, k);
    for (Index r = 0; r < rows; ++r) std::copy_n(weights + r * k, k, op.weights.row(begin + r, h));
  });
}

/// y += a x, `count` elements.
template <class S>
void add_scaled(S a, const S* x, S* y, Index count) {
  for (Index c = 0; c < count; ++c) y[c] += a * x[c];
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ProductKeyTopKBackward<S>& op) {
  const Index R = op.query.extent(0), H = op.query.extent(1), D = op.query.extent(2);
  const Index n = op.row_keys.extent(1), half = op.row_keys.extent(2), k = op.slots.extent(2);
  const Index tiles = (R + product_key_rows - 1) / product_key_rows;
  const auto scope = device.scope();
  const View<S, 3> dscores = device.allocate(Shape{R, H, k});
  device.parallel_for(tiles * H, [&](Index task, Arena& scratch) {
    const Index h = task / tiles, begin = task % tiles * product_key_rows;
    const S* const row_keys = op.row_keys.widen(h * n * half, n * half, take<S>(scratch, n * half));
    const S* const col_keys = op.col_keys.widen(h * n * half, n * half, take<S>(scratch, n * half));
    for (Index r = begin; r < std::min(begin + product_key_rows, R); ++r) {
      const S *const w = op.weights.row(r, h), *const dw = op.dweights.row(r, h);
      S mean = 0;
      for (Index e = 0; e < k; ++e) mean += w[e] * dw[e];
      S *const ds = dscores.row(r, h), *const dq = op.dquery.row(r, h);
      std::fill_n(dq, D, S(0));
      for (Index e = 0; e < k; ++e) {
        ds[e] = w[e] * (dw[e] - mean);
        const Index slot = op.slots(r, h, e);
        add_scaled(ds[e], row_keys + slot / n * half, dq, half);
        add_scaled(ds[e], col_keys + slot % n * half, dq + half, half);
      }
    }
  });
  for (const bool row : {true, false}) {
    const View<S, 3>& dkeys = row ? op.drow_keys : op.dcol_keys;
    if (dkeys.empty()) continue;
    device.parallel_for(H, [&](Index h, Arena&) {
      for (Index r = 0; r < R; ++r)
        for (Index e = 0; e < k; ++e) {
          const Index slot = op.slots(r, h, e), key = row ? slot / n : slot % n;
          add_scaled(dscores(r, h, e), op.query.row(r, h) + (row ? 0 : half), dkeys.row(h, key), half);
        }
    });
  }
}

}  // namespace midus
