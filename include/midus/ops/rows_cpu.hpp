// Sums over rows that lie anywhere in memory: what a gather is made of.
#pragma once

#include "midus/core/dtype.hpp"
#include "midus/device/simd.hpp"

namespace midus {

/// A packet of values in the compute type, from values in the compute type or in bfloat16.
template <class S>
simd::Packet<S> load_wide(const S* from) {
  return simd::load(from);
}
template <class S>
simd::Packet<S> load_wide(const bfloat16* from) {
  // Spelt so that both compilers make two or three instructions of it.
  alignas(64) S wide[simd::width<S>];
  for (Index i = 0; i < simd::width<S>; ++i) wide[i] = static_cast<S>(from[i].to_float());
  return simd::load(wide);
}

/// The same for the last `count` values of a row.
template <class S, class Stored>
simd::Packet<S> load_wide_part(const Stored* from, Index count) {
  Stored all[simd::width<S>]{};
  std::copy_n(from, count, all);
  return load_wide<S>(all);
}

/// Asks for so many cache lines from here on, which are read soon: into the second-level cache, since what
/// goes to the first waits for one of its few buffers. Not inlined, g++ would take the call for one without
/// effect, and drop it.
[[gnu::always_inline]] inline void fetch_lines(const void* from, int lines) {
  for (int line = 0; line < lines; ++line)
    __builtin_prefetch(static_cast<const char*>(from) + 64 * line, 0, 2);
}

/// `count` rows of `width` values, and the rows that are wanted after these: they are fetched meanwhile
/// (null: nothing is).
template <class Stored>
struct Rows {
  const Stored* const* at;
  const Stored* const* next;
  Index count, width;
};

/// What to fetch while a block of columns is worked on: so many cache lines of each row from column `c` on.
template <class Stored>
struct Ahead {
  const Stored* const* rows;
  Index c;
  int lines;

  /// Short rows are fetched whole, with the first block; of long ones always the next block.
  Ahead(const Rows<Stored>& all, Index begin, Index end)
      : rows(all.next == nullptr ? all.at : all.next), c(0) {
    constexpr Index line = 64 / static_cast<Index>(sizeof(Stored)), short_row = 16 * line;
    lines = 0;
    if (all.next == nullptr) return;
    if (all.width <= short_row) {
      if (begin == 0) lines = static_cast<int>((all.width + line - 1) / line);
      return;
    }
    lines = static_cast<int>((end - begin + line - 1) / line);
    if (end < all.width) {
      rows = all.at;
      c = end;
    }
  }
  [[gnu::always_inline]] void fetch(Index i) const { fetch_lines(rows[i] + c, lines); }
};

/// Calls `block(packets, begin, end)` for the columns 0 ... width-1 in blocks that fit the registers;
/// `packets` is a constant of the type, at most `most`, and 0 for the columns of the last, incomplete packet.
template <class S, int most = 8, class F>
void for_blocks(Index width, F&& block) {
  constexpr Index lanes = simd::width<S>;
  Index c = 0;
  const auto all = [&]<int packets>(std::integral_constant<int, packets> count) {
    for (; c + packets * lanes <= width; c += packets * lanes) block(count, c, c + packets * lanes);
  };
  if constexpr (most >= 8) all(std::integral_constant<int, 8>());
  all(std::integral_constant<int, 4>());
  all(std::integral_constant<int, 2>());
  all(std::integral_constant<int, 1>());
  if (c < width) block(std::integral_constant<int, 0>(), c, width);
}

/// y_j = Σ_i w_ji row_i, or y_j += that, for `Sums` sums: w [Sums,count] and y [Sums,width], their rows `ldw`
/// and `ldy` apart. Each element is summed in the order of i.
template <int Sums, class S, class Stored>
void sum_rows(const Rows<Stored>& rows, const S* w, Index ldw, S* y, Index ldy, bool accumulate) {
  constexpr Index lanes = simd::width<S>;
  const auto block = [&]<int packets>(std::integral_constant<int, packets>, Index begin, Index end) {
    const Ahead<Stored> ahead(rows, begin, end);
    if constexpr (packets > 0) {
      simd::Packet<S> sum[Sums * packets];  // NOLINT: std::array of packets draws warnings from g++
      MIDUS_UNROLL
      for (int i = 0; i < Sums * packets; ++i)
        sum[i] = accumulate ? simd::load(y + i / packets * ldy + begin + i % packets * lanes)
                            : simd::broadcast(S(0));
      for (Index i = 0; i < rows.count; ++i) {
        const Stored* const row = rows.at[i] + begin;
        simd::Packet<S> weight[Sums];  // NOLINT: as above
        MIDUS_UNROLL
        for (int j = 0; j < Sums; ++j) weight[j] = simd::broadcast(w[j * ldw + i]);
        ahead.fetch(i);
        MIDUS_UNROLL
        for (int p = 0; p < packets; ++p) {
          const auto x = load_wide<S>(row + p * lanes);
          MIDUS_UNROLL
          for (int j = 0; j < Sums; ++j)
            sum[j * packets + p] = simd::multiply_add(weight[j], x, sum[j * packets + p]);
        }
      }
      MIDUS_UNROLL
      for (int i = 0; i < Sums * packets; ++i)
        simd::store(y + i / packets * ldy + begin + i % packets * lanes, sum[i]);
    } else {
      const simd::Part<S> part{begin, end - begin};
      for (int j = 0; j < Sums; ++j) {
        auto sum = accumulate ? part.load(y + j * ldy) : simd::broadcast(S(0));
        for (Index i = 0; i < rows.count; ++i) {
          if (j == 0) ahead.fetch(i);
          sum = simd::multiply_add(simd::broadcast(w[j * ldw + i]),
                                   load_wide_part<S>(rows.at[i] + begin, end - begin), sum);
        }
        part.store(y + j * ldy, sum);
      }
    }
  };
  for_blocks<S, 8 / Sums>(rows.width, block);
}

/// y = Σ_i w_i row_i, or y += that.
template <class S, class Stored>
void sum_rows(const Rows<Stored>& rows, const S* w, S* y, bool accumulate) {
  sum_rows<1>(rows, w, rows.count, y, rows.width, accumulate);
}

/// ⟨x, row_i⟩ for `Count` rows, each in the order that `dot_rows` gives it whatever the others are.
template <int Count, class S, class Stored>
void dot_block(const Stored* const* rows, Index width, const S* x, S* y) {
  constexpr Index lanes = simd::width<S>;
  simd::Packet<S> even[Count], odd[Count];  // NOLINT: as above
  MIDUS_UNROLL
  for (int i = 0; i < Count; ++i) even[i] = odd[i] = simd::broadcast(S(0));
  Index c = 0;
  for (; c + 2 * lanes <= width; c += 2 * lanes) {
    const auto x0 = simd::load(x + c), x1 = simd::load(x + c + lanes);
    MIDUS_UNROLL
    for (int i = 0; i < Count; ++i) {
      even[i] = simd::multiply_add(x0, load_wide<S>(rows[i] + c), even[i]);
      odd[i] = simd::multiply_add(x1, load_wide<S>(rows[i] + c + lanes), odd[i]);
    }
  }
  for (; c < width; c += lanes) {
    const Index count = std::min(lanes, width - c);
    const auto part = simd::Part<S>{c, count}.load(x);
    MIDUS_UNROLL
    for (int i = 0; i < Count; ++i)
      even[i] = simd::multiply_add(part, load_wide_part<S>(rows[i] + c, count), even[i]);
  }
  MIDUS_UNROLL
  for (int i = 0; i < Count; ++i) y[i] = simd::sum_of<S>(even[i] + odd[i]);
}

/// y_i = ⟨x, row_i⟩.
template <class S, class Stored>
void dot_rows(const Rows<Stored>& rows, const S* x, S* y) {
  const Ahead<Stored> ahead(rows, 0, std::min<Index>(rows.width, 64));
  Index i = 0;
  for (; i + 4 <= rows.count; i += 4) {
    for (Index j = i; j < i + 4; ++j) ahead.fetch(j);
    dot_block<4>(rows.at + i, rows.width, x, y + i);
  }
  for (; i < rows.count; ++i) {
    ahead.fetch(i);
    dot_block<1>(rows.at + i, rows.width, x, y + i);
  }
}

}  // namespace midus
