// Cpu forms of ops/causal_attention.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/ops/causal_attention.hpp"
#include "midus/ops/causal_attention_backward_cpu.hpp"
#include "midus/ops/causal_attention_tiles_cpu.hpp"
#include "midus/ops/few_rows_cpu.hpp"

namespace midus {

/// The rows of one tile of queries, and what is known of their softmax after some tiles of keys.
template <class S>
struct AttentionRows {
  const S* queries;  // [rows,D] scaled by 1/√D
  S* scores;         // [rows,attention_keys]
  S* largest;        // [rows] of the scores so far
  S* sums;           // [rows] Σ exp(score − largest)
  S* out;            // [rows,D] Σ exp(score − largest) v
};

/// Scores → exp(score − largest), the row's sums and outputs brought to the new largest score.
template <class S>
void attention_softmax(const AttentionRows<S>& rows, Index row, Index visible, Index D) {
  S *const scores = rows.scores + row * attention_keys, *const out = rows.out + row * D;
  constexpr Index step = attention_step<S>;
  const Index width = (visible + step - 1) / step * step;
  std::fill_n(scores + visible, width - visible, -std::numeric_limits<S>::infinity());
  const S before = rows.largest[row];
  const S largest = std::max(before, simd::largest_in(scores, width));
  // A row of nothing but -inf so far stays at sum 0 instead of becoming NaN here.
  const S shift = largest == -std::numeric_limits<S>::infinity() ? S(0) : largest;
  const auto shifts = simd::broadcast(shift);
  const S sum = simd::sum_over<S>(width, [&](auto at) {
    const auto p = simd::exp<S>(at.load(scores) - shifts);
    at.store(scores, p);
    return p;
  });
  rows.largest[row] = largest;
  if (before == largest) {
    rows.sums[row] += sum;
    return;
  }
  const S keep = std::exp(before - shift);
  rows.sums[row] = rows.sums[row] * keep + sum;
  const auto keeps = simd::broadcast(keep);
  simd::for_packets<S>(D, [&](auto at) { at.store(out, at.load(out) * keeps); });
}

/// out += P v. A key that a row does not see has weight 0 there, which hides all
/// but NaN and infinity: where the tile holds one, each query takes its own keys only.
template <class S>
void attention_values(const AttentionTiles& tiles, const AttentionRows<S>& rows, Index key, Index keys,
                      const S* v, Index ldv, S* panels) {
  const Index D = tiles.D;
  pack_rows(v, ldv, D, keys, 0, keys, panels);
  bool finite = true;
  if (tiles.past + tiles.query < key + keys - 1) finite = all_finite(panels, panel_size<S>(keys, D));
  const auto add = [&](Index row, Index count, Index depth) {
    S* const out = rows.out + row * D;
    multiply<S>(count, D, depth, left_rows<S>(rows.scores + row * attention_keys, attention_keys), panels,
                out, D, out, D, keys);
  };
  if (finite) return tiles.for_rows_that_see<S>(key, keys, add);
  for (Index row = tiles.first_row_that_sees(key); row < tiles.rows(); row += tiles.group)
    add(row, tiles.group, std::min(keys, tiles.sees(row) - key));
}

/// A tile of keys and values, rows `ld` apart, for the heads of one query, as when a token is generated: they
/// are used too few times to be packed. `keys` of them, which every row sees, and `more` behind them.
template <class S>
void attention_of_one_query(const AttentionTiles& tiles, const AttentionRows<S>& rows, Index keys, Index more,
                            const S* k, const S* v, Index ld) {
  const Index D = tiles.D;
  const S *value[attention_keys], *next[attention_keys];
  for (Index i = 0; i < keys; ++i) {
    value[i] = v + i * ld;
    next[i] = i < more ? value[i] + keys * ld : value[i];
  }
  constexpr Index some = 16;  // keys at once; the next tile's are fetched meanwhile
  const int lines = static_cast<int>((D * static_cast<Index>(sizeof(S)) + 63) / 64);
  for (Index i = 0; i < keys; i += some) {
    for (Index j = i; j < std::min(i + some, more); ++j) fetch_lines(k + (keys + j) * ld, lines);
    multiply_few_rows<S>(tiles.rows(), std::min(some, keys - i), D, rows.queries, D, k + i * ld, ld,
                         rows.scores + i, attention_keys, nullptr, 0);
  }
  for (Index row = 0; row < tiles.rows(); ++row) {
    attention_softmax(rows, row, keys, D);
    sum_rows(Rows<S>{value, row == 0 ? next : value, keys, D}, rows.scores + row * attention_keys,
             rows.out + row * D, true);
  }
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const CausalAttention<S>& op) {
  const Index B = op.q.extent(0), T = op.q.extent(1), H = op.q.extent(2), D = op.q.extent(3);
  const Index KV = op.k.extent(2), room = op.k.extent(1);
  if (B == 0 || T == 0 || KV == 0) return;
  const Index tile = attention_queries(H, KV), query_tiles = (T + tile - 1) / tile;
  device.parallel_for(B * KV * query_tiles, [&](Index task, Arena& scratch) {
    // The last tiles see the most keys: they go first.
    const Index b = task / (KV * query_tiles), kv = task / query_tiles % KV;
    const Index query = (query_tiles - 1 - task % query_tiles) * tile;
    const Index past = op.past.empty() ? 0 : op.past(b);
    const AttentionTiles tiles(T, H, KV, D, kv, query, std::min(tile, T - query), past);
    if (tiles.group == 0) return;
    const Index count = tiles.rows();
    S* const queries = take<S>(scratch, count * D);
    const AttentionRows<S> rows{queries, take<S>(scratch, count * attention_keys), take<S>(scratch, count),
                                take<S>(scratch, count), take<S>(scratch, count * D)};
    tiles.gather(op.q.row(b), queries, S(1 / std::sqrt(static_cast<double>(D))));
    std::fill_n(rows.largest, count, -std::numeric_limits<S>::infinity());
    std::fill_n(rows.sums, count, S(0));
    std::fill_n(rows.out, count * D, S(0));
    S* const panels =
        take<S>(scratch, std::max(panel_size<S>(D, attention_keys), panel_size<S>(attention_keys, D)));
    for (Index key = 0; key < tiles.sees(count - 1); key += attention_keys) {
      const Index keys = std::min(attention_keys, tiles.sees(count - 1) - key);
      const Index first = tiles.first_row_that_sees(key), at = ((b * room + key) * KV + kv) * D;
      if (T == 1 && count <= few_rows) {
        const Index more = tiles.sees(count - 1) - key - keys;
        attention_of_one_query(tiles, rows, keys, more, op.k.data() + at, op.v.data() + at, KV * D);
        continue;
      }
      pack_transposed(op.k.data() + at, KV * D, keys, D, panels);
      tiles.for_rows_that_see<S>(key, keys, [&](Index row, Index group, Index seen) {
        multiply<S>(group, seen, D, left_rows<S>(queries + row * D, D), panels,
                    rows.scores + row * attention_keys, attention_keys, nullptr, 0);
      });
      for (Index row = first; row < count; ++row)
        attention_softmax(rows, row, std::min(keys, tiles.sees(row) - key), D);
      attention_values(tiles, rows, key, keys, op.v.data() + at, KV * D, panels);
    }
    for (Index row = 0; row < count; ++row) {
      const auto sum = simd::broadcast(rows.sums[row]);
      S *const out = rows.out + row * D, *const y = op.y.row(b, tiles.time(row), tiles.head(row));
      simd::for_packets<S>(D, [&](auto at) { at.store(y, at.load(out) / sum); });
      if (!op.log_sum.empty())
        op.log_sum(b, tiles.head(row), tiles.time(row)) = rows.largest[row] + std::log(rows.sums[row]);
    }
  });
}

}  // namespace midus
