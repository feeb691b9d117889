// How attention is cut on a Cpu: shared by causal_attention_cpu.hpp and causal_attention_backward_cpu.hpp.
#pragma once

#include <cmath>

#include "midus/device/product.hpp"

namespace midus {

/// Keys in a tile. A row's sums go by these tiles from key 0 on, whatever the tile of queries is.
inline constexpr Index attention_keys = 128;

/// Where a tile of keys begins to be seen, it is cut into so many keys: what no row sees is left out by
/// these.
template <class S>
inline constexpr Index attention_step = std::max<Index>(16, ProductBlock<S>::cols);

/// Queries in a tile: with those of the other heads that read the same keys about 128 rows.
constexpr Index attention_queries(Index H, Index KV) {
  return std::max<Index>(16, 128 / std::max<Index>(1, H / KV));
}

/// What scores are multiplied with: 1/√D.
template <class S>
S attention_scale(Index D) {
  return S(1 / std::sqrt(static_cast<double>(D)));
}

/// The first query head that reads key/value head kv, or, for kv = KV, the number of heads.
constexpr Index first_head_of(Index H, Index KV, Index kv) { return (kv * H + KV - 1) / KV; }

/// Key/value heads side by side, and the query heads that read them.
struct AttentionStrip {
  AttentionStrip(Index heads, Index kv_heads, Index begin, Index most)
      : H(heads),
        KV(kv_heads),
        first(begin),
        count(std::min(most, kv_heads - begin)),
        first_head(first_head_of(heads, kv_heads, begin)) {}

  /// The first of the rows, one per query head, that read key/value head first + kv.
  Index row(Index kv) const { return first_head_of(H, KV, first + kv) - first_head; }

  Index H, KV, first, count, first_head;
};

/// A tile of queries of all heads that read one key/value head. Its rows are ordered by time, then head.
struct AttentionTiles {
  AttentionTiles(Index length, Index heads, Index kv_heads, Index width, Index kv, Index first_query,
                 Index query_count, Index before)
      : H(heads),
        D(width),
        query(first_query),
        queries(std::min(query_count, length - first_query)),
        past(before),
        first_head(first_head_of(heads, kv_heads, kv)),
        group(first_head_of(heads, kv_heads, kv + 1) - first_head) {}

  Index rows() const { return queries * group; }
  Index time(Index row) const { return query + row / group; }
  Index head(Index row) const { return first_head + row % group; }
  /// The number of keys that a row sees.
  Index sees(Index row) const { return past + time(row) + 1; }
  Index first_row_that_sees(Index key) const {
    return std::min(std::max<Index>(0, key - past - query) * group, rows());
  }

  /// Calls f(row, rows, keys) for the rows that see any of `keys` keys from `key` on, in groups that see
  /// about as many: `keys`, or fewer, a multiple of attention_step.
  template <class S, class F>
  void for_rows_that_see(Index key, Index keys, F&& f) const {
    constexpr Index step = attention_step<S>;
    for (Index seen = step, row = first_row_that_sees(key); row < rows(); seen += step) {
      const Index end = seen < keys ? first_row_that_sees(key + seen) : rows();
      if (end > row) f(row, end - row, std::min(seen, keys));
      row = std::max(row, end);
    }
  }

  /// Rows of one sequence [T,H,D], times `scale`, side by side.
  template <class S>
  void gather(const S* from, S* to, S scale) const {
    const auto factor = simd::broadcast(scale);
    for (Index row = 0; row < rows(); ++row, to += D) {
      const S* const x = from + (time(row) * H + head(row)) * D;
      simd::for_packets<S>(D, [&](auto at) { at.store(to, at.load(x) * factor); });
    }
  }

  Index H, D, query, queries, past, first_head, group;
};

template <class S>
bool all_finite(const S* x, Index count) {
  const S zero = simd::sum_over<S>(count, [&](auto at) { return at.load(x) * simd::broadcast(S(0)); });
  return zero == S(0);
}

}  // namespace midus
