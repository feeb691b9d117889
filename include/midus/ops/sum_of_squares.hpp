// The sum of squares of a tensor: the part of a global gradient norm, and the test for non-finite values.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// sums_i = Σ x² over tile i of `sum_of_squares_tile` elements, in double. The order of every sum depends on
/// the size alone. A non-finite element makes its tile's sum non-finite.
template <class S>
struct SumOfSquares {
  View<const S, 1> x;    // [n]
  View<double, 1> sums;  // [⌈n / sum_of_squares_tile⌉] overwritten
};

inline constexpr Index sum_of_squares_tile = 1 << 14;

}  // namespace midus
