#pragma once

#include <cmath>
#include <vector>

#include "midus/ops/causal_attention.hpp"
#include "reference/device.hpp"

namespace midus {

/// q_t · k_s / √D for the keys s = 0 ... keys - 1 of one head.
template <class S>
std::vector<S> attention_scores(const View<const S, 4>& q, const View<const S, 4>& k, Index b, Index t,
                                Index h, Index keys) {
  const Index D = q.extent(3), kv = h * k.extent(2) / q.extent(2);
  std::vector<S> scores(static_cast<std::size_t>(keys), S(0));
  for (Index s = 0; s < keys; ++s) {
    S& score = scores[static_cast<std::size_t>(s)];
    for (Index i = 0; i < D; ++i) score += q(b, t, h, i) * k(b, s, kv, i);
    score /= S(std::sqrt(static_cast<double>(D)));
  }
  return scores;
}

template <class S>
void run(Reference<S>& device, const CausalAttention<S>& op) {
  using std::exp;
  using std::log;
  const Index B = op.q.extent(0), T = op.q.extent(1), H = op.q.extent(2), D = op.q.extent(3);
  device.work([&] {
    for (Index b = 0; b < B; ++b)
      for (Index t = 0; t < T; ++t)
        for (Index h = 0; h < H; ++h) {
          const Index kv = h * op.k.extent(2) / H, past = op.past.empty() ? 0 : op.past(b);
          const auto scores = attention_scores(op.q, op.k, b, t, h, past + t + 1);
          double largest = -std::numeric_limits<double>::infinity();  // keeps exp in range; cancels
          for (const S& score : scores) largest = std::max(largest, real_part(score));
          S sum(0);
          for (const S& score : scores) sum += exp(score - S(largest));
          for (Index i = 0; i < D; ++i) {
            S y(0);
            for (std::size_t s = 0; s < scores.size(); ++s)
              y += exp(scores[s] - S(largest)) / sum * op.v(b, s, kv, i);
            op.y(b, t, h, i) = y;
          }
          if (!op.log_sum.empty()) op.log_sum(b, h, t) = S(largest) + log(sum);
        }
  });
}

/// With p_s = exp(score_s − log_sum) and ds_s = p_s (⟨dy, v_s⟩ − ⟨dy, y⟩): dv_s += p_s dy, dk_s += ds_s q /
/// √D, dq += ds_s k_s / √D.
template <class S>
void run(Reference<S>& device, const CausalAttentionBackward<S>& op) {
  using std::exp;
  const Index B = op.q.extent(0), T = op.q.extent(1), H = op.q.extent(2), D = op.q.extent(3);
  const S scale = S(1 / std::sqrt(static_cast<double>(D)));
  device.fill(op.dq, S(0));
  device.fill(op.dk, S(0));
  device.fill(op.dv, S(0));
  device.work([&] {
    for (Index b = 0; b < B; ++b)
      for (Index t = 0; t < T; ++t)
        for (Index h = 0; h < H; ++h) {
          const Index kv = h * op.k.extent(2) / H;
          const auto scores = attention_scores(op.q, op.k, b, t, h, t + 1);
          S dy_y(0);
          for (Index i = 0; i < D; ++i) dy_y += op.dy(b, t, h, i) * op.y(b, t, h, i);
          for (Index s = 0; s <= t; ++s) {
            const S p = exp(scores[static_cast<std::size_t>(s)] - op.log_sum(b, h, t));
            S dy_v(0);
            for (Index i = 0; i < D; ++i) dy_v += op.dy(b, t, h, i) * op.v(b, s, kv, i);
            const S ds = p * (dy_v - dy_y) * scale;
            for (Index i = 0; i < D; ++i) {
              op.dv(b, s, kv, i) += p * op.dy(b, t, h, i);
              op.dk(b, s, kv, i) += ds * op.q(b, t, h, i);
              op.dq(b, t, h, i) += ds * op.k(b, s, kv, i);
            }
          }
        }
  });
}

}  // namespace midus
