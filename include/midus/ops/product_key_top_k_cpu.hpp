// The product-key look-up and its backward on the processor.
#pragma once

#include <cassert>
#include <cmath>
#include <cstdint>

#include "midus/device/cpu.hpp"
#include "midus/device/product.hpp"
#include "midus/ops/few_rows_cpu.hpp"
#include "midus/ops/product_key_top_k.hpp"
#include "midus/ops/top_k_cpu.hpp"

namespace midus {

/// How two sorted lists of k are combined. (a, b) lies behind (a+1)(b+1) - 1 other pairs, so only those with
/// (a+1)(b+1) <= k can be among the k largest sums: about k ln k *candidates*, kept in the order of grid
/// rank. And where (a+1)(b+1) >= k, k sums are no smaller: the largest of these is a threshold; the
/// *frontier* has those that no other is sure to exceed.
struct ProductKeyPairs {
  Index candidates = 0, frontier = 0;
  std::int32_t *a, *b, *frontier_a, *frontier_b;

  ProductKeyPairs(Index k, Arena& scratch) {
    for (Index i = 0; i < k; ++i) candidates += k / (i + 1);
    a = take<std::int32_t>(scratch, candidates);
    b = take<std::int32_t>(scratch, candidates);
    frontier_a = take<std::int32_t>(scratch, k);
    frontier_b = take<std::int32_t>(scratch, k);
    Index next = 0;
    for (Index i = 0; i < k; ++i) {
      for (Index j = 0; j < k / (i + 1); ++j, ++next) {
        a[next] = static_cast<std::int32_t>(i);
        b[next] = static_cast<std::int32_t>(j);
      }
      const auto j = static_cast<std::int32_t>((k + i) / (i + 1) - 1);
      if (frontier > 0 && frontier_b[frontier - 1] == j) continue;
      frontier_a[frontier] = static_cast<std::int32_t>(i);
      frontier_b[frontier++] = j;
    }
  }
};

/// The k largest of each of `rows` rows of n scores.
template <class S>
struct ProductKeySide {
  S* scores;              // [rows,k], descending
  std::int32_t* indices;  // [rows,k]

  ProductKeySide(Index rows, Index k, Arena& scratch)
      : scores(take<S>(scratch, rows * k + top_k_slack)),
        indices(take<std::int32_t>(scratch, rows * k + top_k_slack)) {}

  /// In ascending order: what a row leaves behind its list, the next one overwrites.
  void select(const S* all, Index rows, Index n, Index k) {
    for (Index r = 0; r < rows; ++r) top_k(all + r * n, n, k, scores + r * k, indices + r * k);
    std::fill_n(scores + rows * k, Lanes<S>::count, S(0));
  }
};

/// The sums of the candidates of two sorted lists; `col` can be read, `sums` written, a vector too far.
template <class S>
void product_key_sums(const S* row, const S* col, Index k, const ProductKeyPairs& pairs, S* sums) {
  using L = Lanes<S>;
  using Vector = typename L::Vector;
  S* next = sums;
  for (Index a = 0; a < k; ++a) {
    const Index count = k / (a + 1);
    for (Index b = 0; b < count; b += L::count) store_lanes(next + b, row[a] + load_lanes<Vector>(col + b));
    next += count;
  }
  // +Inf − Inf counts as −Inf: that keeps the order of the sums the order of the scores.
  constexpr S infinity = std::numeric_limits<S>::infinity();
  if (row[0] != infinity && col[0] != infinity) return;
  for (Index e = 0; e < pairs.candidates; ++e)
    if (std::isinf(row[pairs.a[e]]) && col[pairs.b[e]] == -row[pairs.a[e]]) sums[e] = -infinity;
}

/// The k largest sums of two sorted lists, in order, and which candidates they are.
template <class S>
void product_key_merge(const S* row, const S* col, Index k, const ProductKeyPairs& pairs, S* candidates,
                       S* sums, std::int32_t* chosen) {
  product_key_sums(row, col, k, pairs, candidates);
  S threshold = -std::numeric_limits<S>::infinity();
  for (Index f = 0; f < pairs.frontier; ++f) {
    const S sum = row[pairs.frontier_a[f]] + col[pairs.frontier_b[f]];
    threshold = sum > threshold ? sum : threshold;
  }
  if (!top_k_from(threshold, candidates, pairs.candidates, k, sums, chosen))
    top_k_by_insertion(candidates, pairs.candidates, k, sums, chosen);
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

/// Both sides' sub-keys for the products with queries: packed, task h packs head h's, or for few queries as
/// they are stored.
template <class S>
struct ProductKeyPanels {
  const WeightView<S, 3>&row_keys, &col_keys;
  View<S, 3> packed;  // [2,H,...]

  ProductKeyPanels(const ProductKeyTopK<S>& op, Cpu<S>& device)
      : row_keys(op.row_keys), col_keys(op.col_keys) {
    if (op.query.extent(0) <= few_rows) return;
    const Index H = row_keys.extent(0), n = row_keys.extent(1), half = row_keys.extent(2);
    packed = device.allocate(Shape{Index{2}, H, panel_size<S>(half, n)});
    device.parallel_for(2 * H, [&, this](Index task, Arena& scratch) {
      const Index side = task % 2, h = task / 2;
      const S* const keys =
          (side == 0 ? row_keys : col_keys).widen(h * n * half, n * half, take<S>(scratch, n * half));
      pack_transposed(keys, half, n, half, packed.row(side, h));
    });
  }

  /// The scores [rows,n] of head h's queries, `ldq` apart, on one side.
  void multiply_with(const S* query, Index ldq, Index rows, Index side, Index h, S* scores) const {
    const WeightView<S, 3>& keys = side == 0 ? row_keys : col_keys;
    const Index n = keys.extent(1), half = keys.extent(2);
    if (!packed.empty())
      return multiply<S>(rows, n, half, left_rows(query, ldq), packed.row(side, h), scores, n, nullptr, 0);
    with_stored(keys, [&](const auto* stored) {
      multiply_few_rows<S>(rows, n, half, query, ldq, stored + h * n * half, half, scores, n, nullptr, 0);
    });
  }
};

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ProductKeyTopK<S>& op) {
  const Index R = op.query.extent(0), H = op.query.extent(1), D = op.query.extent(2);
  const Index n = op.row_keys.extent(1), half = op.row_keys.extent(2), k = op.slots.extent(2);
  assert(2 * half == D && 1 <= k && k <= n && n <= 46340);  // n² fits a slot
  const Index tiles = (R + product_key_rows - 1) / product_key_rows;
  const auto scope = device.scope();
  const ProductKeyPanels<S> panels(op, device);
  device.parallel_for(tiles * H, [&](Index task, Arena& scratch) {
    const Index h = task / tiles, begin = task % tiles * product_key_rows;
    const Index rows = std::min(product_key_rows, R - begin);
    S* const row_scores = take<S>(scratch, rows * n);
    S* const col_scores = take<S>(scratch, rows * n);
    const S* const query = op.query.row(begin, h);
    panels.multiply_with(query, H * D, rows, 0, h, row_scores);
    panels.multiply_with(query + half, H * D, rows, 1, h, col_scores);
    ProductKeySide<S> row(rows, k, scratch), col(rows, k, scratch);
    row.select(row_scores, rows, n, k);
    col.select(col_scores, rows, n, k);
    const ProductKeyPairs pairs(k, scratch);
    S* const candidates = take<S>(scratch, pairs.candidates + Lanes<S>::count);
    S* const weights = take<S>(scratch, rows * k + top_k_slack);
    std::int32_t* const chosen = take<std::int32_t>(scratch, k + top_k_slack);
    for (Index r = 0; r < rows; ++r) {
      product_key_merge(row.scores + r * k, col.scores + r * k, k, pairs, candidates, weights + r * k,
                        chosen);
      std::int32_t* const slots = op.slots.row(begin + r, h);
      for (Index e = 0; e < k; ++e)
        slots[e] = row.indices[r * k + pairs.a[chosen[e]]] * static_cast<std::int32_t>(n) +
                   col.indices[r * k + pairs.b[chosen[e]]];
    }
    softmax_descending(weights, rows, k);
    for (Index r = 0; r < rows; ++r) std::copy_n(weights + r * k, k, op.weights.row(begin + r, h));
  });
}

/// y += a x, `count` elements.
template <class S>
void add_scaled(S a, const S* x, S* y, Index count) {
  constexpr Index width = simd::width<S>;
  const auto factor = simd::broadcast(a);
  Index c = 0;
  for (; c + width <= count; c += width)
    simd::store(y + c, simd::multiply_add(factor, simd::load(x + c), simd::load(y + c)));
  for (; c < count; ++c) y[c] += a * x[c];
}

/// The two sub-keys of a slot. A division by n of which the processor does one in twenty cycles would cost
/// more than what is done with a slot; the product with 1/n is exact, since (slot + ½)/n is at least ½/n from
/// an integer.
struct ProductKeySplit {
  std::int32_t n;
  double inverse;

  explicit ProductKeySplit(Index keys)
      : n(static_cast<std::int32_t>(keys)), inverse(1 / static_cast<double>(keys)) {}
  std::int32_t row(std::int32_t slot) const {
    return static_cast<std::int32_t>((static_cast<double>(slot) + 0.5) * inverse);
  }
  std::int32_t col(std::int32_t slot) const { return slot - row(slot) * n; }
};

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ProductKeyTopKBackward<S>& op) {
  const Index R = op.query.extent(0), H = op.query.extent(1), D = op.query.extent(2);
  const Index n = op.row_keys.extent(1), half = op.row_keys.extent(2), k = op.slots.extent(2);
  const Index tiles = (R + product_key_rows - 1) / product_key_rows;
  const ProductKeySplit split(n);
  const auto scope = device.scope();
  const View<S, 3> dscores = device.allocate(Shape{R, H, k});
  device.parallel_for(tiles * H, [&](Index task, Arena& scratch) {
    const Index h = task / tiles, begin = task % tiles * product_key_rows;
    const S* const row_keys = op.row_keys.widen(h * n * half, n * half, take<S>(scratch, n * half));
    const S* const col_keys = op.col_keys.widen(h * n * half, n * half, take<S>(scratch, n * half));
    for (Index r = begin; r < std::min(begin + product_key_rows, R); ++r) {
      const S *const w = op.weights.row(r, h), *const dw = op.dweights.row(r, h);
      const std::int32_t* const slots = op.slots.row(r, h);
      S mean = 0;
      for (Index e = 0; e < k; ++e) mean += w[e] * dw[e];
      S *const ds = dscores.row(r, h), *const dq = op.dquery.row(r, h);
      if (!op.accumulate) std::fill_n(dq, D, S(0));
      for (Index e = 0; e < k; ++e) {
        ds[e] = w[e] * (dw[e] - mean);
        add_scaled(ds[e], row_keys + split.row(slots[e]) * half, dq, half);
        add_scaled(ds[e], col_keys + split.col(slots[e]) * half, dq + half, half);
      }
    }
  });
  device.parallel_for(2 * H, [&](Index task, Arena&) {
    const Index h = task / 2;
    const bool row = task % 2 == 0;
    const View<S, 3>& dkeys = row ? op.drow_keys : op.dcol_keys;
    if (dkeys.empty()) return;
    S* const of_head = dkeys.row(h, 0);
    for (Index r = 0; r < R; ++r) {
      const S *const ds = dscores.row(r, h), *const q = op.query.row(r, h) + (row ? 0 : half);
      const std::int32_t* const slots = op.slots.row(r, h);
      for (Index e = 0; e < k; ++e)
        add_scaled(ds[e], q, of_head + (row ? split.row(slots[e]) : split.col(slots[e])) * half, half);
    }
  });
}

}  // namespace midus
