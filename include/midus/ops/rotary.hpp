// Rotary position embedding (Su et al. 2021, arXiv 2104.09864), Hugging Face's half-split form; its own
// backward.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// In place, with p = positions_r and i < D/2: (x_i, x_{i+D/2}) turned by the angle of (p, i):
/// x_i ← x_i cos − x_{i+D/2} sin, x_{i+D/2} ← x_{i+D/2} cos + x_i sin.
/// Backward is the turn by the negative angle: `inverse`.
template <class S>
struct Rotary {
  View<S, 3> x;                           // [R,H,D] overwritten
  View<const std::int32_t, 1> positions;  // [R] rows of the tables
  View<const S, 2> cos;                   // [P,D/2]
  View<const S, 2> sin;                   // [P,D/2]
  bool inverse = false;
};

}  // namespace midus
