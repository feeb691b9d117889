// The gate of a SwiGLU feed-forward layer (Shazeer 2020, arXiv 2002.05202), and its backward.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// y = silu(gate) ⊙ up, with silu(z) = z σ(z).
template <class S>
struct Swiglu {
  View<const S, 2> gate;  // [R,f]
  View<const S, 2> up;    // [R,f]
  View<S, 2> y;           // [R,f] overwritten
};

/// dup = dy ⊙ silu(gate), dgate = dy ⊙ up ⊙ σ(gate) (1 + gate (1 − σ(gate))).
template <class S>
struct SwigluBackward {
  View<const S, 2> gate;  // [R,f]
  View<const S, 2> up;    // [R,f]
  View<const S, 2> dy;    // [R,f]
  View<S, 2> dgate;       // [R,f] overwritten; may be dy's own memory
  View<S, 2> dup;         // [R,f] overwritten
};

}  // namespace midus
