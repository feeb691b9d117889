// Cross-entropy of a block of logits, and its gradient.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// The target that counts nowhere.
inline constexpr std::int32_t ignored_target = -100;

/// losses_r = ln Σ_v exp(logits_rv) − logits_r[targets_r] in nats, 0 where the target is ignored;
/// dlogits_r = scale · (softmax(logits_r) − onehot(targets_r)), 0 where the target is ignored.
template <class S>
struct CrossEntropy {
  View<const S, 2> logits;              // [R,V]
  View<const std::int32_t, 1> targets;  // [R] in 0 ... V-1, or ignored_target
  View<S, 1> losses;                    // [R] overwritten
  View<S, 2> dlogits{};                 // [R,V] overwritten; may be the logits' own memory; empty: not wanted
  double scale = 1;                     // 1 / (number of counted targets in the step)
};

}  // namespace midus
