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

/// Rows of W that are multiplied at once. Short ones are neighbours; of longer ones each is the next of a
/// stretch that is read from front to back, as several streams within a page slow each other down.
inline constexpr int few_rows_streams = 4;
inline constexpr Index short_row = 127;  // at most, elements

/// Where A is one row, a longer row of W is read alone, into several sums: a single stream is the fastest, as
/// long as A stays in the first-level cache beside it.
inline constexpr Index lone_row = 2048;  // at most

/// ⟨a_r, b_s⟩ for `Rows` rows of A, `lda` apart, and `Streams` rows of B, `ldb` apart, to
/// sums [Rows,Streams]. Each is made of `Parts` sums, in one order, which depends on the length alone.
template <int Rows, int Streams, int Parts, class S, class Stored>
void few_rows_block(Index depth, const S* a, Index lda, const Stored* b, Index ldb, S* sums) {
  constexpr Index lanes = simd::width<S>;
  constexpr int pairs = Rows * Streams;
  simd::Packet<S> sum[Parts * pairs];  // NOLINT: std::array of packets draws warnings from g++
  MIDUS_UNROLL
  for (int i = 0; i < Parts * pairs; ++i) sum[i] = simd::broadcast(S(0));
  const auto add = [&](int part, auto&& packet_of) {
    simd::Packet<S> x[Rows];  // NOLINT: as above
    MIDUS_UNROLL
    for (int r = 0; r < Rows; ++r) x[r] = packet_of(a + r * lda);
    MIDUS_UNROLL
    for (int s = 0; s < Streams; ++s) {
      const simd::Packet<S> w = packet_of(b + s * ldb);
      MIDUS_UNROLL
      for (int r = 0; r < Rows; ++r) {
        simd::Packet<S>& to = sum[part * pairs + r * Streams + s];
        to = simd::multiply_add(x[r], w, to);
      }
    }
  };
  Index k = 0;
  for (; k + Parts * lanes <= depth; k += Parts * lanes) {
    MIDUS_UNROLL
    for (int part = 0; part < Parts; ++part)
      add(part, [at = k + part * lanes](const auto* row) { return load_wide<S>(row + at); });
  }
  for (; k + lanes <= depth; k += lanes) add(0, [k](const auto* row) { return load_wide<S>(row + k); });
  if (const Index rest = depth - k; rest > 0)
    add(0, [k, rest](const auto* row) { return load_wide_part<S>(row + k, rest); });
  MIDUS_UNROLL
  for (int part = 1; part < Parts; ++part) {
    MIDUS_UNROLL
    for (int i = 0; i < pairs; ++i) sum[i] = sum[i] + sum[part * pairs + i];
  }
  MIDUS_UNROLL
  for (int i = 0; i < pairs; ++i) sums[i] = simd::sum_of<S>(sum[i]);
}

/// C [Rows × n] = F + A·Bᵀ, as multiply_few_rows has it.
template <int Rows, class S, class Stored>
[[gnu::noinline]] void multiply_rows(Index n, Index depth, const S* a, Index lda, const Stored* b, Index ldb,
                                     S* c, Index ldc, const S* f, Index ldf) {
  S sums[Rows * few_rows_streams];
  const auto multiply_block = [&]<int Streams, int Parts>(Index first, Index apart) {
    few_rows_block<Rows, Streams, Parts>(depth, a, lda, b + first * ldb, apart * ldb, sums);
    for (int r = 0; r < Rows; ++r)
      for (int s = 0; s < Streams; ++s) {
        const Index at = first + s * apart;
        const S sum = sums[r * Streams + s];
        c[r * ldc + at] = f == nullptr ? sum : f[r * ldf + at] + sum;
      }
  };
  if constexpr (Rows == 1)
    if (short_row < depth && depth <= lone_row) {
      for (Index j = 0; j < n; ++j) multiply_block.template operator()<1, few_rows_streams>(j, 1);
      return;
    }
  const Index stretch = n / few_rows_streams;
  for (Index i = 0; i < stretch; ++i)
    if (depth <= short_row)
      multiply_block.template operator()<few_rows_streams, 1>(i * few_rows_streams, 1);
    else
      multiply_block.template operator()<few_rows_streams, 1>(i, stretch);
  for (Index j = stretch * few_rows_streams; j < n; ++j) multiply_block.template operator()<1, 1>(j, 1);
}

/// C [m × n] = F + A·Bᵀ for few rows of A; without F where `f` is null. F may be C. B [n × depth] lies as it
/// is stored, its rows `ldb` apart, and should fit the second-level cache: of more than three rows the next
/// three read it again.
template <class S, class Stored>
void multiply_few_rows(Index m, Index n, Index depth, const S* a, Index lda, const Stored* b, Index ldb, S* c,
                       Index ldc, const S* f, Index ldf) {
  for (Index i = 0, rows = 0; i < m; i += rows) {
    rows = std::min<Index>(m - i, (m - i) % 3 == 1 ? 2 : 3);  // never one of several: its sums would differ
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
