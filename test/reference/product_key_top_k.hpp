#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "midus/ops/product_key_top_k.hpp"
#include "reference/device.hpp"

namespace midus {

/// The indices of `scores` in descending order; a NaN after every number, equal ones by the lower index.
template <class S>
std::vector<std::size_t> descending(const std::vector<S>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
    const double a = real_part(scores[i]), b = real_part(scores[j]);
    return a > b || (std::isnan(b) && !std::isnan(a));
  });
  return order;
}

/// All n² sums, in the order of their grid ranks; `i` and `j` are the sub-keys of each.
template <class S>
struct ProductKeyGrid {
  std::vector<S> sums;
  std::vector<std::size_t> i, j;

  ProductKeyGrid(const std::vector<S>& row, const std::vector<S>& col) {
    for (const std::size_t a : descending(row))
      for (const std::size_t b : descending(col)) {
        const bool number = !std::isnan(real_part(row[a])) && !std::isnan(real_part(col[b]));
        const S sum = row[a] + col[b];
        // +Inf − Inf: the lowest number keeps the order of the sums that of the scores
        const bool opposite = number && std::isnan(real_part(sum));
        sums.push_back(opposite ? S(-std::numeric_limits<double>::infinity()) : sum);
        i.push_back(a);
        j.push_back(b);
      }
  }
};

/// K q for one half of one query: `half` 0 the rows, 1 the columns.
template <class S>
std::vector<S> sub_key_scores(const View<const S, 3>& query, const WeightView<S, 3>& keys, Index r, Index h,
                              Index half) {
  const Index n = keys.extent(1), width = keys.extent(2);
  std::vector<S> scores(static_cast<std::size_t>(n), S(0));
  for (Index i = 0; i < n; ++i)
    for (Index c = 0; c < width; ++c)
      scores[static_cast<std::size_t>(i)] += query(r, h, half * width + c) * keys.at((h * n + i) * width + c);
  return scores;
}

template <class S>
void run(Reference<S>& device, const ProductKeyTopK<S>& op) {
  using std::exp;
  const Index n = op.row_keys.extent(1), k = op.slots.extent(2);
  device.work([&] {
    for (Index r = 0; r < op.query.extent(0); ++r)
      for (Index h = 0; h < op.query.extent(1); ++h) {
        const ProductKeyGrid<S> grid(sub_key_scores(op.query, op.row_keys, r, h, 0),
                                     sub_key_scores(op.query, op.col_keys, r, h, 1));
        const auto order = descending(grid.sums);
        const double largest = real_part(grid.sums[order[0]]);  // keeps exp in range; cancels
        S total(0);
        for (Index e = 0; e < k; ++e) {
          const std::size_t rank = order[static_cast<std::size_t>(e)];
          op.slots(r, h, e) = static_cast<std::int32_t>(static_cast<Index>(grid.i[rank]) * n +
                                                        static_cast<Index>(grid.j[rank]));
          op.weights(r, h, e) = exp(grid.sums[rank] - S(largest));
          total += op.weights(r, h, e);
        }
        for (Index e = 0; e < k; ++e) op.weights(r, h, e) /= total;
      }
  });
}

template <class S>
void run(Reference<S>& device, const ProductKeyTopKBackward<S>& op) {
  const Index H = op.query.extent(1), n = op.row_keys.extent(1), width = op.row_keys.extent(2);
  const Index k = op.slots.extent(2);
  if (!op.accumulate) device.fill(op.dquery, S(0));
  device.work([&] {
    for (Index r = 0; r < op.query.extent(0); ++r)
      for (Index h = 0; h < H; ++h) {
        S mean(0);
        for (Index e = 0; e < k; ++e) mean += op.weights(r, h, e) * op.dweights(r, h, e);
        for (Index e = 0; e < k; ++e) {
          const S ds = op.weights(r, h, e) * (op.dweights(r, h, e) - mean);
          const Index i = op.slots(r, h, e) / n, j = op.slots(r, h, e) % n;
          for (Index c = 0; c < width; ++c) {
            op.dquery(r, h, c) += ds * op.row_keys.at((h * n + i) * width + c);
            op.dquery(r, h, width + c) += ds * op.col_keys.at((h * n + j) * width + c);
            if (!op.drow_keys.empty()) op.drow_keys(h, i, c) += ds * op.query(r, h, c);
            if (!op.dcol_keys.empty()) op.dcol_keys(h, j, c) += ds * op.query(r, h, width + c);
          }
        }
      }
  });
}

}  // namespace midus
