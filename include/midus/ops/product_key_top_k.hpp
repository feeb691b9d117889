// Product-key look-up (Lample et al. 2019, arXiv 1907.05242), per head (MIDUS, arXiv 2512.13751), and its
// backward.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/weight_view.hpp"

namespace midus {

/// Per row and head: with q = [q_row ; q_col], s_row = K_row q_row, s_col = K_col q_col, the k largest of the
/// n² sums s_row[i] + s_col[j]; slot = i·n + j; weights = softmax over the k. The k largest sums lie among
/// the k largest of each side, so only those are combined: exact.
///
/// Order: slots come by descending sum. Equal scores of a side go by the lower sub-key index; equal sums by
/// grid rank, that is by position a·k + b in the two sorted lists. A NaN score counts as lower than every
/// number, so that a slot is always in range; a NaN among the chosen makes all weights of that row and head
/// NaN. Scores are not scaled.
template <class S>
struct ProductKeyTopK {
  View<const S, 3> query;       // [R,H,D]
  WeightView<S, 3> row_keys;    // [H,n,D/2]
  WeightView<S, 3> col_keys;    // [H,n,D/2]
  View<std::int32_t, 3> slots;  // [R,H,k] overwritten
  View<S, 3> weights;           // [R,H,k] overwritten
};

/// The selection itself is not differentiated. ds_i = w_i (dw_i − Σ_j w_j dw_j);
/// dq_row = Σ_i ds_i K_row[row(i)], dK_row[row(i)] += ds_i q_row, and the same for the columns.
template <class S>
struct ProductKeyTopKBackward {
  View<const S, 3> query;             // [R,H,D]
  WeightView<S, 3> row_keys;          // [H,n,D/2]
  WeightView<S, 3> col_keys;          // [H,n,D/2]
  View<const std::int32_t, 3> slots;  // [R,H,k]
  View<const S, 3> weights;           // [R,H,k]
  View<const S, 3> dweights;          // [R,H,k]
  View<S, 3> dquery;                  // [R,H,D]
  View<S, 3> drow_keys;               // [H,n,D/2] added to; empty: frozen
  View<S, 3> dcol_keys;               // [H,n,D/2] added to; empty: frozen
  bool accumulate = false;            // add to dquery instead of overwriting it
};

}  // namespace midus
