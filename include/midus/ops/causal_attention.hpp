// Causal attention with grouped key/value heads, in memory linear in T, and its backward.
#pragma once

#include <cstdint>

#include "midus/core/run.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// y = softmax(q kᵀ / √D) v per head; query head h reads key/value head ⌊h·KV/H⌋; query t of sequence b sees
/// the keys 0 ... past_b + t: past_b keys precede its first query (a cache). Only the first past_b + T keys
/// are read: k and v may have room for more. No [T,S] matrix of a head is stored (the scheme of Dao et al.
/// 2022, arXiv 2205.14135): per query only ln Σ exp of its scores is kept.
template <class S>
struct CausalAttention {
  View<const S, 4> q;                  // [B,T,H,D]
  View<const S, 4> k;                  // [B,S,KV,D]
  View<const S, 4> v;                  // [B,S,KV,D]
  View<S, 4> y;                        // [B,T,H,D] overwritten
  View<S, 3> log_sum{};                // [B,H,T] kept for backward; overwritten; empty: not wanted
  View<const std::int32_t, 1> past{};  // [B] empty: 0, as in training
};

/// The gradients of q, k and v, for past = 0 and S = T.
template <class S>
struct CausalAttentionBackward {
  View<const S, 4> q;        // [B,T,H,D]
  View<const S, 4> k;        // [B,T,KV,D]
  View<const S, 4> v;        // [B,T,KV,D]
  View<const S, 4> y;        // [B,T,H,D]
  View<const S, 3> log_sum;  // [B,H,T]
  View<const S, 4> dy;       // [B,T,H,D]
  View<S, 4> dq;             // [B,T,H,D] overwritten
  View<S, 4> dk;             // [B,T,KV,D] overwritten
  View<S, 4> dv;             // [B,T,KV,D] overwritten
};

}  // namespace midus
