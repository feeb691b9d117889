// Eigen, and the one place where it multiplies matrices. Included by device/cpu.hpp and ops/*_cpu.hpp only.
#pragma once

// midus' threads are the only ones: under -fopenmp Eigen would start its own inside each of ours.
#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE
#endif
// Room for the packed panels of a tile on the stack, so that a product allocates nothing.
#ifndef EIGEN_STACK_ALLOCATION_LIMIT
#define EIGEN_STACK_ALLOCATION_LIMIT (1024 * 1024)
#endif
#include <Eigen/Core>

#include "midus/core/shape.hpp"

#if !EIGEN_VERSION_AT_LEAST(3, 4, 0)
#error "midus needs Eigen 3.4 or newer"
#endif

// g++ tuned for Zen 2 or Zen 3 (which -march=native on those machines implies) re-reads the left panel from
// memory in every multiply-add of Eigen's inner loop: 17 loads for 12 multiply-adds. An empty asm keeps the
// panel in registers (62 -> 80 GFLOP/s a thread, the same bits). This is Eigen's own extension point, as its
// NEON port uses it.
#if defined(__GNUC__) && !defined(__clang__) && (defined(__x86_64__) || defined(__i386__)) && \
    EIGEN_MAJOR_VERSION == 4 && EIGEN_WORLD_VERSION == 3
#define MIDUS_EIGEN_PANEL_IN_REGISTERS 1
#define MIDUS_GEBP_TRAITS(S)                                                                  \
  template <>                                                                                 \
  class Eigen::internal::gebp_traits<S, S, false, false, Eigen::Architecture::SSE,            \
                                     Eigen::internal::GEBPPacketFull>                         \
      : public Eigen::internal::gebp_traits<S, S, false, false, Eigen::Architecture::Generic, \
                                            Eigen::internal::GEBPPacketFull> {                \
   public:                                                                                    \
    template <class Packet>                                                                   \
    EIGEN_STRONG_INLINE void loadLhs(const S* a, Packet& to) const {                          \
      to = pload<Packet>(a);                                                                  \
      if constexpr (sizeof(Packet) > sizeof(S)) __asm__("" : "+v"(to));                       \
    }                                                                                         \
  }
MIDUS_GEBP_TRAITS(float);
MIDUS_GEBP_TRAITS(double);
#undef MIDUS_GEBP_TRAITS
#endif

namespace midus {

/// A matrix of `rows` × `cols` in memory, row-major, `stride` elements from one row to the next.
template <class S>
using EigenRows =
    Eigen::Map<std::conditional_t<std::is_const_v<S>,
                                  const Eigen::Matrix<std::remove_const_t<S>, Eigen::Dynamic, Eigen::Dynamic,
                                                      Eigen::RowMajor>,
                                  Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>,
               0, Eigen::OuterStride<>>;

template <class S>
EigenRows<S> eigen_rows(S* data, Index rows, Index cols, Index stride) {
  return {data, rows, cols, Eigen::OuterStride<>(stride)};
}

/// `count` elements in a row, as an Eigen array.
template <class S>
auto eigen_array(S* data, Index count) {
  using Array = Eigen::Array<std::remove_const_t<S>, Eigen::Dynamic, 1>;
  return Eigen::Map<std::conditional_t<std::is_const_v<S>, const Array, Array>>(data, count);
}

/// C (+)= A · B, C (+)= A · Bᵀ or C (+)= Aᵀ · B for one tile, on the calling thread. These are the only
/// products that Eigen instantiates; not inlined, so that every caller gets the same bits. `c` is m × n; the
/// sum runs over `k`. `lda` and its like are elements from one row to the next, as stored.
template <class S>
[[gnu::noinline]] void product_nn(Index m, Index n, Index k, const S* a, Index lda, const S* b, Index ldb,
                                  S* c, Index ldc, bool accumulate) {
  auto out = eigen_rows(c, m, n, ldc);
  if (!accumulate) out.setZero();
  out.noalias() += eigen_rows(a, m, k, lda) * eigen_rows(b, k, n, ldb);
}
template <class S>
[[gnu::noinline]] void product_nt(Index m, Index n, Index k, const S* a, Index lda, const S* b, Index ldb,
                                  S* c, Index ldc, bool accumulate) {
  auto out = eigen_rows(c, m, n, ldc);
  if (!accumulate) out.setZero();
  out.noalias() += eigen_rows(a, m, k, lda) * eigen_rows(b, n, k, ldb).transpose();
}
template <class S>
[[gnu::noinline]] void product_tn(Index m, Index n, Index k, const S* a, Index lda, const S* b, Index ldb,
                                  S* c, Index ldc, bool accumulate) {
  auto out = eigen_rows(c, m, n, ldc);
  if (!accumulate) out.setZero();
  out.noalias() += eigen_rows(a, k, m, lda).transpose() * eigen_rows(b, k, n, ldb);
}

}  // namespace midus
