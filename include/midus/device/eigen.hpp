// Eigen, for its packets and its array expressions. Included by device/cpu.hpp and ops/*_cpu.hpp only.
#pragma once

// Of Eigen's products, which alone start threads of their own under -fopenmp, midus uses none.
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

#if !EIGEN_VERSION_AT_LEAST(3, 4, 0)
#error "midus needs Eigen 3.4 or newer"
#endif
