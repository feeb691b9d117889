// How attention is cut on a Cpu: shared by causal_attention_cpu.hpp and causal_attention_backward_cpu.hpp.
#pragma once

#include <limits>

#include "midus/device/product.hpp"

namespace midus {

/// Keys in a tile. A row's sums go by these tiles from key 0 on, whatever the tile of queries is.
inline constexpr Index attention_keys = 64;

/// Queries in a tile: with those of the other heads that read the same keys about 128 rows.
constexpr Index attention_queries(Index H, Index KV) {
  return std::max<Index>(16, 128 / std::max<Index>(1, H / KV));
}

/// A tile of queries of all heads that read one key/value head. Its rows are ordered by time, then head.
struct AttentionTiles {
  AttentionTiles(Index length, Index heads, Index kv_heads, Index width, Index kv, Index first_query,
                 Index query_count, Index before)
      : H(heads),
        D(width),
        query(first_query),
        queries(std::min(query_count, length - first_query)),
        past(before),
        first_head((kv * heads + kv_heads - 1) / kv_heads),
        group(((kv + 1) * heads + kv_heads - 1) / kv_heads - first_head) {}

  Index rows() const { return queries * group; }
  Index time(Index row) const { return query + row / group; }
  Index head(Index row) const { return first_head + row % group; }
  /// The number of keys that a row sees.
  Index sees(Index row) const { return past + time(row) + 1; }
  Index first_row_that_sees(Index key) const { return std::max<Index>(0, key - past - query) * group; }

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
