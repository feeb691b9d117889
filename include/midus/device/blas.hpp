// The library that computes the products of whole matrices, where the build asks for one: link
// midus::openblas or midus::onednn. Without, they are those of device/product.hpp. Included by ops/*_cpu.hpp
// only.
#pragma once

#include <algorithm>
#include <type_traits>

#include "midus/core/shape.hpp"

#if defined(MIDUS_GEMM_OPENBLAS)
#define bfloat16 openblas_bfloat16  // its global name would be ambiguous after `using namespace midus`
#include <cblas.h>
#undef bfloat16
#define MIDUS_GEMM "OpenBLAS"
#elif defined(MIDUS_GEMM_ONEDNN)
#include <oneapi/dnnl/dnnl.h>
#define MIDUS_GEMM "oneDNN"
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
extern "C" void omp_set_num_threads(int);
#endif
#else
#define MIDUS_GEMM "midus"
#endif

namespace midus {

/// Whether products in S are the library's: OpenBLAS has float and double, oneDNN float.
#if defined(MIDUS_GEMM_OPENBLAS)
template <class S>
inline constexpr bool uses_blas = true;
#elif defined(MIDUS_GEMM_ONEDNN)
template <class S>
inline constexpr bool uses_blas = std::is_same_v<S, float>;
#else
template <class S>
inline constexpr bool uses_blas = false;
#endif

/// A factor of a product as it lies in memory, rows `ld` apart, or its transpose.
template <class S>
struct BlasFactor {
  const S* data;
  Index ld;
  bool transposed = false;
};

/// C [m × n] = A·B, or += where `add`, on the calling thread.
#if defined(MIDUS_GEMM_OPENBLAS)
template <class S>
void blas_multiply(Index m, Index n, Index depth, const BlasFactor<S>& a, const BlasFactor<S>& b, S* c,
                   Index ldc, bool add) {
  const auto size = [](Index x) { return static_cast<blasint>(x); };
  const auto call = [&](auto gemm) {
    gemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
         size(m), size(n), size(depth), S(1), a.data, size(std::max<Index>(1, a.ld)), b.data,
         size(std::max<Index>(1, b.ld)), S(add ? 1 : 0), c, size(ldc));
  };
  if constexpr (std::is_same_v<S, float>)
    call(cblas_sgemm);
  else
    call(cblas_dgemm);
}
#elif defined(MIDUS_GEMM_ONEDNN)
template <class S>
void blas_multiply(Index m, Index n, Index depth, const BlasFactor<S>& a, const BlasFactor<S>& b, S* c,
                   Index ldc, bool add) {
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
  omp_set_num_threads(1);  // of the calling thread
#endif
  dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, depth, 1, a.data,
             std::max<Index>(1, a.ld), b.data, std::max<Index>(1, b.ld), add ? 1 : 0, c, ldc);
}
#else
template <class S>
void blas_multiply(Index m, Index n, Index depth, const BlasFactor<S>& a, const BlasFactor<S>& b, S* c,
                   Index ldc, bool add) = delete;
#endif

/// OpenBLAS computes on the calling thread alone from here on: midus' threads are the only ones.
inline void blas_on_one_thread() {
#if defined(MIDUS_GEMM_OPENBLAS)
  openblas_set_num_threads(1);
#endif
}

}  // namespace midus
