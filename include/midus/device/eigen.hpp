// Eigen, for its packets and its array expressions. Included by device/cpu.hpp and ops/*_cpu.hpp only.
#pragma once

// midus' threads are the only ones: under -fopenmp Eigen would start its own inside each of ours.
#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE
#endif
// g++ 12 believes that AVX-512's intrinsics read what they leave undefined (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <Eigen/Core>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include "midus/core/shape.hpp"

#if !EIGEN_VERSION_AT_LEAST(3, 4, 0)
#error "midus needs Eigen 3.4 or newer"
#endif

namespace midus {

/// `count` elements in a row, as an Eigen array.
template <class S>
auto eigen_array(S* data, Index count) {
  using Array = Eigen::Array<std::remove_const_t<S>, Eigen::Dynamic, 1>;
  return Eigen::Map<std::conditional_t<std::is_const_v<S>, const Array, Array>>(data, count);
}

}  // namespace midus
