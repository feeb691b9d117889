// Cpu form of CausalAttentionBackward (ops/causal_attention.hpp).
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/ops/causal_attention.hpp"
#include "midus/ops/causal_attention_tiles_cpu.hpp"

namespace midus {

/// P = exp(scores − log_sum) in place of the scores, dS = P ⊙ (dP − ⟨dy, y⟩) in place of dP; 0 for keys that
/// the row does not see.
template <class S>
void attention_score_gradients(S* scores, S* dp, Index visible, S log_sum, S dy_y) {
  const auto shift = simd::broadcast(log_sum), delta = simd::broadcast(dy_y);
  simd::for_packets<S>(visible, [&](auto at) {
    const auto p = simd::exp<S>(at.load(scores) - shift);
    at.store(dp, p * (at.load(dp) - delta));
    at.store(scores, p);
  });
  constexpr Index step = attention_step<S>;
  const Index width = (visible + step - 1) / step * step;
  std::fill_n(scores + visible, width - visible, S(0));
  std::fill_n(dp + visible, width - visible, S(0));
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const CausalAttentionBackward<S>& op) {
  const Index B = op.q.extent(0), T = op.q.extent(1), H = op.q.extent(2), D = op.q.extent(3);
  const Index KV = op.k.extent(2);
  if (T == 0 || KV == 0) return;
  const S scale = S(1 / std::sqrt(static_cast<double>(D)));
  const Index tile = attention_queries(H, KV);
  device.parallel_for(B * KV, [&](Index task, Arena& scratch) {
    const Index b = task / KV, kv = task % KV, at_kv = (b * T * KV + kv) * D;
    const S *const k = op.k.data() + at_kv, *const v = op.v.data() + at_kv;
    const Index most = std::min(tile, T) * AttentionTiles(T, H, KV, D, kv, 0, tile, 0).group;
    const Index keys_wide = panel_size<S>(D, attention_keys), width_wide = panel_size<S>(attention_keys, D);
    const Index key_tiles = (T + attention_keys - 1) / attention_keys;
    // Kᵀ, Vᵀ and K by tiles of keys, packed once for all queries.
    S *const k_columns = take<S>(scratch, key_tiles * keys_wide),
             *const v_columns = take<S>(scratch, key_tiles * keys_wide),
             *const k_rows = take<S>(scratch, key_tiles * width_wide);
    for (Index j = 0; j < key_tiles; ++j) {
      const Index key = j * attention_keys, keys = std::min(attention_keys, T - key);
      pack_transposed(k + key * KV * D, KV * D, keys, D, k_columns + j * keys_wide);
      pack_transposed(v + key * KV * D, KV * D, keys, D, v_columns + j * keys_wide);
      pack_rows(k + key * KV * D, KV * D, D, keys, 0, keys, k_rows + j * width_wide);
    }
    S *const dk = take<S>(scratch, T * D), *const dv = take<S>(scratch, T * D);
    std::fill_n(dk, T * D, S(0));
    std::fill_n(dv, T * D, S(0));
    S *const q = take<S>(scratch, most * D), *const dy = take<S>(scratch, most * D),
             *const dq = take<S>(scratch, most * D), *const dy_y = take<S>(scratch, most);
    S *const p = take<S>(scratch, most * attention_keys), *const ds = take<S>(scratch, most * attention_keys);
    S *const q_rows = take<S>(scratch, panel_size<S>(most, D)), *const dy_rows =
                                                                    take<S>(scratch, panel_size<S>(most, D));
    for (Index query = 0; query < T; query += tile) {
      const AttentionTiles tiles(T, H, KV, D, kv, query, tile, 0);
      const Index count = tiles.rows();
      if (count == 0) continue;
      tiles.gather(op.q.row(b), q, scale);
      tiles.gather(op.dy.row(b), dy, S(1));
      tiles.gather(op.y.row(b), dq, S(1));
      for (Index row = 0; row < count; ++row)
        dy_y[row] =
            simd::sum_over<S>(D, [&](auto at) { return at.load(dy + row * D) * at.load(dq + row * D); });
      std::fill_n(dq, count * D, S(0));
      for (Index j = 0; j * attention_keys < tiles.sees(count - 1); ++j) {
        const Index key = j * attention_keys, keys = std::min(attention_keys, T - key);
        const Index first = tiles.first_row_that_sees(key), rows = count - first;
        tiles.for_rows_that_see<S>(key, keys, [&](Index row, Index group, Index seen) {
          multiply<S>(group, seen, D, left_rows<S>(q + row * D, D), k_columns + j * keys_wide,
                      p + row * attention_keys, attention_keys, nullptr, 0);
          multiply<S>(group, seen, D, left_rows<S>(dy + row * D, D), v_columns + j * keys_wide,
                      ds + row * attention_keys, attention_keys, nullptr, 0);
        });
        for (Index row = first; row < count; ++row)
          attention_score_gradients(p + row * attention_keys, ds + row * attention_keys,
                                    std::min(keys, tiles.sees(row) - key),
                                    op.log_sum(b, tiles.head(row), tiles.time(row)), dy_y[row]);
        pack_rows(dy + first * D, D, D, rows, 0, rows, dy_rows);
        pack_rows(q + first * D, D, D, rows, 0, rows, q_rows);
        const Index some_keys = tiles.first_row_that_sees(key + keys - 1) == 0 ? keys : attention_step<S>;
        for (Index at = 0; at < keys; at += some_keys) {
          const Index from = tiles.first_row_that_sees(key + at), some = std::min(some_keys, keys - at);
          if (from == count) break;
          const Index depth = count - from, skipped = (from - first) * ProductBlock<S>::cols;
          S *const dv1 = dv + (key + at) * D, *const dk1 = dk + (key + at) * D;
          const Index corner = from * attention_keys + at;
          multiply<S>(some, D, depth, left_columns<S>(p + corner, attention_keys), dy_rows + skipped, dv1, D,
                      dv1, D, rows);
          multiply<S>(some, D, depth, left_columns<S>(ds + corner, attention_keys), q_rows + skipped, dk1, D,
                      dk1, D, rows);
        }
        tiles.for_rows_that_see<S>(key, keys, [&](Index row, Index group, Index seen) {
          S* const dq1 = dq + row * D;
          multiply<S>(group, D, seen, left_rows<S>(ds + row * attention_keys, attention_keys),
                      k_rows + j * width_wide, dq1, D, dq1, D, keys);
        });
      }
      for (Index row = 0; row < count; ++row) {
        S* const to = op.dq.row(b, tiles.time(row), tiles.head(row));
        const auto factor = simd::broadcast(scale);
        simd::for_packets<S>(D, [&](auto at) { at.store(to, at.load(dq + row * D) * factor); });
      }
    }
    for (Index t = 0; t < T; ++t) {
      std::copy_n(dk + t * D, D, op.dk.row(b, t, kv));
      std::copy_n(dv + t * D, D, op.dv.row(b, t, kv));
    }
  });
}

}  // namespace midus
