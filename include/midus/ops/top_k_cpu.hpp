// The k largest of one row of numbers, in order, on the processor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "midus/core/shape.hpp"

namespace midus {

/// The order of every selection: larger numbers first, a NaN after every number.
template <class S>
constexpr bool ranks_before(S a, S b) {
  return a > b || (b != b && a == a);
}

/// The k largest of x[0 ... n-1] in descending order, equal ones by the lower index: values and indices.
/// Needs 1 <= k <= n. One pass that inserts into a sorted list: for what the fast way leaves over.
template <class S>
void top_k_by_insertion(const S* x, Index n, Index k, S* values, std::int32_t* indices) {
  Index size = 0;
  for (Index i = 0; i < n; ++i) {
    if (size == k && !ranks_before(x[i], values[k - 1])) continue;
    const Index at =
        std::partition_point(values, values + size, [&](S v) { return !ranks_before(x[i], v); }) - values;
    if (size < k) ++size;
    std::move_backward(values + at, values + size - 1, values + size);
    std::move_backward(indices + at, indices + size - 1, indices + size);
    values[at] = x[i];
    indices[at] = static_cast<std::int32_t>(i);
  }
}

/// The same, fast.
template <class S>
void top_k(const S* x, Index n, Index k, S* values, std::int32_t* indices) {
  top_k_by_insertion(x, n, k, values, indices);
}

}  // namespace midus
