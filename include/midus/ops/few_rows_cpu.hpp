// Products of a few rows with a weight where it lies: what generation is made of. A weight is used once or a
// few times, so all depends on how fast it is read, and packing it would take longer than the rest.
#pragma once

#include <algorithm>

#include "midus/core/weight_view.hpp"
#include "midus/ops/rows_cpu.hpp"

namespace midus {

/// The most rows that are multiplied so. Packing pays from 5 to 16 rows on, the later the larger the weight
/// (bench/ops/gemm_bench.cpp).
inline constexpr Index few_rows = 8;

/// Rows of W that are multiplied at once. They lie apart, each the next of a stretch that is read from front
/// to back: so many streams at once let one core take all that the memory gives.
inline constexpr int few_rows_streams = 4;

/// ⟨a_r, b_s⟩ for `Rows` rows of A, `lda` apart, and `Streams` rows of B, `ldb` apart, to
/// sums [Rows,Streams]. Each is summed in one order, which depends on the length of the sum alone.
template <int Rows, int Streams, class S, class Stored>
void few_rows_block(Index depth, const S* a, Index lda, const Stored* b, Index ldb, S* sums) {
  constexpr Index lanes = simd::width<S>;
  simd::Packet<S> sum[Rows * Streams];  // NOLINT: std::array of packets draws warnings from g++
  MIDUS_UNROLL
  for (int i = 0; i < Rows * Streams; ++i) sum[i] = simd::broadcast(S(0));
  const auto add = [&](auto&& left, auto&& right) {
    simd::Packet<S> x[Rows];  // NOLINT: as above
    MIDUS_UNROLL
    for (int r = 0; r < Rows; ++r) x[r] = left(a + r * lda);
    MIDUS_UNROLL
    for (int s = 0; s < Streams; ++s) {
      const simd::Packet<S> w = right(b + s * ldb);
      MIDUS_UNROLL
      for (int r = 0; r < Rows; ++r) sum[r * Streams + s] = simd::multiply_add(x[r], w, sum[r * Streams + s]);
    }
  };
  Index k = 0;
  for (; k + lanes <= depth; k += lanes)
    add([k](const S* row) { return simd::load(row + k); },
        [k](const Stored* row) { return load_wide<S>(row + k); });
  if (const Index rest = depth - k; rest > 0)
    add(
        [&](const S* row) {
          return simd::Part<S>{k, rest}.load(row);
        },
        [&](const Stored* row) { return load_wide_part<S>(row + k, rest); });
  MIDUS_UNROLL
  for (int i = 0; i < Rows * Streams; ++i) sums[i] = simd::sum_of<S>(sum[i]);
}

/// C [Rows × n] = F + A·Bᵀ, as multiply_few_rows has it.
template <int Rows, class S, class Stored>
[[gnu::noinline]] void multiply_rows(Index n, Index depth, const S* a, Index lda, const Stored* b, Index ldb,
                                     S* c, Index ldc, const S* f, Index ldf) {
  S sums[Rows * few_rows_streams];
  const auto put = [&](Index first, Index step, int streams) {
    for (int r = 0; r < Rows; ++r)
      for (int s = 0; s < streams; ++s) {
        const Index at = first + s * step;
        const S sum = sums[r * streams + s];
        c[r * ldc + at] = f == nullptr ? sum : f[r * ldf + at] + sum;
      }
  };
  const Index stretch = n / few_rows_streams;
  for (Index j = 0; j < stretch; ++j) {
    few_rows_block<Rows, few_rows_streams>(depth, a, lda, b + j * ldb, stretch * ldb, sums);
    put(j, stretch, few_rows_streams);
  }
  for (Index j = stretch * few_rows_streams; j < n; ++j) {
    few_rows_block<Rows, 1>(depth, a, lda, b + j * ldb, ldb, sums);
    put(j, 1, 1);
  }
}

/// C [m × n] = F + A·Bᵀ for few rows of A; without F where `f` is null. F may be C. B [n × depth] lies as it
/// is stored, its rows `ldb` apart, and should fit the second-level cache: of more than three rows the next
/// three read it again.
template <class S, class Stored>
void multiply_few_rows(Index m, Index n, Index depth, const S* a, Index lda, const Stored* b, Index ldb, S* c,
                       Index ldc, const S* f, Index ldf) {
  for (Index i = 0, rows = 0; i < m; i += rows) {
    rows = m - i == 4 ? 2 : std::min<Index>(3, m - i);  // one row alone takes nearly as long as two
    const auto kernel = rows == 1   ? &multiply_rows<1, S, Stored>
                        : rows == 2 ? &multiply_rows<2, S, Stored>
                                    : &multiply_rows<3, S, Stored>;
    kernel(n, depth, a + i * lda, lda, b, ldb, c + i * ldc, ldc, f == nullptr ? nullptr : f + i * ldf, ldf);
  }
}

/// Calls f(pointer to the first value) for a weight as it is stored.
template <class S, int Rank, class F>
void with_stored(const WeightView<S, Rank>& w, F&& f) {
  if (w.is_bfloat16())
    f(w.half().data());
  else
    f(w.full().data());
}

}  // namespace midus
