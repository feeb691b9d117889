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

/// No key yet.
template <class S>
void start_rows(const AttentionRows<S>& rows, Index count, Index D) {
  std::fill_n(rows.largest, count, -std::numeric_limits<S>::infinity());
  std::fill_n(rows.sums, count, S(0));
  std::fill_n(rows.out, count * D, S(0));
}

/// After the last key: y of one query, which may be `out`, and the logarithm of its sum.
template <class S>
void finish_row(const CausalAttention<S>& op, Index b, Index head, Index time, const S* out, S largest,
                S sum) {
  S* const y = op.y.row(b, time, head);
  const auto sums = simd::broadcast(sum);
  simd::for_packets<S>(op.y.extent(3), [&](auto at) { at.store(y, at.load(out) / sums); });
  if (!op.log_sum.empty()) op.log_sum(b, head, time) = largest + std::log(sum);
}

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

/// Whether `attention_of_one_query` takes the op: one query a sequence, as when a token is generated, and so
/// few heads to a key/value head that what is read bounds it.
template <class S>
bool is_one_query(const CausalAttention<S>& op) {
  const Index H = op.q.extent(2), KV = op.k.extent(2);
  return op.q.extent(1) == 1 && H <= KV * few_rows;
}

/// The scores of one query of each of some heads against `keys` keys, softmax, and the sums of values: one
/// part of those heads' attention. `k` and `v` are of `heads.first`, rows `ld` apart; `more` keys follow the
/// part.
template <class S>
void attention_part(const AttentionStrip& heads, const AttentionRows<S>& rows, Index keys, Index more,
                    const S* k, const S* v, Index ld, Index D) {
  constexpr Index some = 8, ahead = 16;  // keys that are read at once; that are fetched ahead
  const int lines = static_cast<int>((D * static_cast<Index>(sizeof(S)) + 63) / 64);
  for (Index i = 0; i < keys; i += some) {
    const Index count = std::min(some, keys - i);
    for (Index kv = 0; kv < heads.count; ++kv) {
      for (Index j = i; j < i + count; ++j) {
        fetch_lines(v + j * ld + kv * D, lines);
        if (j + ahead < keys + more) fetch_lines(k + (j + ahead) * ld + kv * D, lines);
      }
      const Index row = heads.row(kv);
      multiply_few_rows<S>(heads.row(kv + 1) - row, count, D, rows.queries + row * D, D, k + i * ld + kv * D,
                           ld, rows.scores + row * attention_keys + i, attention_keys, nullptr, 0);
    }
  }
  const S* value[attention_keys];
  for (Index kv = 0; kv < heads.count; ++kv) {
    for (Index i = 0; i < keys; ++i) value[i] = v + i * ld + kv * D;
    const Index first = heads.row(kv), end = heads.row(kv + 1);
    for (Index row = first; row < end; ++row) attention_softmax(rows, row, keys, D);
    for (Index row = first; row < end; row += 2) {
      const auto sum = row + 1 < end ? &sum_rows<2, S, S> : &sum_rows<1, S, S>;
      sum({value, nullptr, keys, D}, rows.scores + row * attention_keys, attention_keys, rows.out + row * D,
          D, false);
    }
  }
}

/// The form for one query a sequence, bound by how fast keys and values are read. Tiles of keys are worked on
/// apart, each for a strip of heads whose keys lie side by side, and joined in their order.
template <class S>
void attention_of_one_query(Cpu<S>& device, const CausalAttention<S>& op) {
  const Index B = op.q.extent(0), H = op.q.extent(2), D = op.q.extent(3);
  const Index room = op.k.extent(1), KV = op.k.extent(2);
  // 512 bytes of a key: wide enough for the memory, and short contexts have tasks for several threads.
  const Index side_by_side = std::max<Index>(1, 512 / (D * static_cast<Index>(sizeof(S))));
  const Index strips = (KV + side_by_side - 1) / side_by_side;
  const Index parts = (room + attention_keys - 1) / attention_keys;
  const auto keys_of = [&](Index b) { return (op.past.empty() ? 0 : op.past(b)) + 1; };
  const auto scope = device.scope();
  const View<S, 4> outs = device.allocate(Shape{B, parts, H, D});
  const View<S, 3> largest = device.allocate(Shape{B, parts, H}), sums = device.allocate(Shape{B, parts, H});
  device.parallel_for(B * strips * parts, [&](Index task, Arena& scratch) {
    const Index b = task / (strips * parts), strip = task / parts % strips, part = task % parts;
    const Index key = part * attention_keys, left = keys_of(b) - key;
    const AttentionStrip heads(H, KV, strip * side_by_side, side_by_side);
    const Index count = heads.row(heads.count);
    if (left <= 0 || count == 0) return;
    S* const queries = take<S>(scratch, count * D);
    const AttentionRows<S> rows{queries, take<S>(scratch, count * attention_keys),
                                largest.row(b, part, heads.first_head), sums.row(b, part, heads.first_head),
                                outs.row(b, part, heads.first_head)};
    const auto factor = simd::broadcast(attention_scale<S>(D));
    const S* const q = op.q.row(b, 0, heads.first_head);
    simd::for_packets<S>(count * D, [&](auto at) { at.store(queries, at.load(q) * factor); });
    start_rows(rows, count, D);
    const Index keys = std::min(attention_keys, left), at = heads.first;
    attention_part(heads, rows, keys, left - keys, op.k.row(b, key, at), op.v.row(b, key, at), KV * D, D);
  });
  device.parallel_for(B * H, [&](Index task, Arena&) {
    const Index b = task / H, head = task % H, count = (keys_of(b) - 1) / attention_keys + 1;
    S most = largest(b, 0, head), sum = 0;
    for (Index part = 1; part < count; ++part) most = std::max(most, largest(b, part, head));
    S* const y = op.y.row(b, 0, head);
    const S shift = most == -std::numeric_limits<S>::infinity() ? S(0) : most;
    std::fill_n(y, D, S(0));
    for (Index part = 0; part < count; ++part) {
      const S keep = std::exp(largest(b, part, head) - shift), *const out = outs.row(b, part, head);
      const auto keeps = simd::broadcast(keep);
      sum += keep * sums(b, part, head);
      simd::for_packets<S>(
          D, [&](auto at) { at.store(y, simd::multiply_add(keeps, at.load(out), at.load(y))); });
    }
    finish_row(op, b, head, 0, y, most, sum);
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const CausalAttention<S>& op) {
  const Index B = op.q.extent(0), T = op.q.extent(1), H = op.q.extent(2), D = op.q.extent(3);
  const Index KV = op.k.extent(2);
  if (B == 0 || T == 0 || KV == 0) return;
  if (is_one_query(op)) return attention_of_one_query(device, op);
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
    tiles.gather(op.q.row(b), queries, attention_scale<S>(D));
    start_rows(rows, count, D);
    S* const panels =
        take<S>(scratch, std::max(panel_size<S>(D, attention_keys), panel_size<S>(attention_keys, D)));
    for (Index key = 0; key < tiles.sees(count - 1); key += attention_keys) {
      const Index keys = std::min(attention_keys, tiles.sees(count - 1) - key);
      const Index first = tiles.first_row_that_sees(key);
      pack_transposed(op.k.row(b, key, kv), KV * D, keys, D, panels);
      tiles.for_rows_that_see<S>(key, keys, [&](Index row, Index group, Index seen) {
        multiply<S>(group, seen, D, left_rows<S>(queries + row * D, D), panels,
                    rows.scores + row * attention_keys, attention_keys, nullptr, 0);
      });
      for (Index row = first; row < count; ++row)
        attention_softmax(rows, row, std::min(keys, tiles.sees(row) - key), D);
      attention_values(tiles, rows, key, keys, op.v.row(b, key, kv), KV * D, panels);
    }
    for (Index row = 0; row < count; ++row)
      finish_row(op, b, tiles.head(row), tiles.time(row), rows.out + row * D, rows.largest[row],
                 rows.sums[row]);
  });
}

}  // namespace midus
