// Cpu forms of ops/swiglu.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/device/simd.hpp"
#include "midus/ops/swiglu.hpp"

namespace midus {

inline constexpr Index swiglu_tile = 1 << 13;

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const Swiglu<S>& op) {
  const Index size = op.y.size();
  device.parallel_for((size + swiglu_tile - 1) / swiglu_tile, [&](Index task, Arena&) {
    const Index first = task * swiglu_tile;
    const S *const gate = op.gate.data() + first, *const up = op.up.data() + first;
    S* const y = op.y.data() + first;
    simd::for_packets<S>(std::min(swiglu_tile, size - first), [&](auto at) {
      const auto z = at.load(gate);
      at.store(y, z * simd::sigmoid<S>(z) * at.load(up));
    });
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const SwigluBackward<S>& op) {
  const Index size = op.dy.size();
  device.parallel_for((size + swiglu_tile - 1) / swiglu_tile, [&](Index task, Arena&) {
    const Index first = task * swiglu_tile;
    const S *const gate = op.gate.data() + first, *const up = op.up.data() + first,
                   *const dy = op.dy.data() + first;
    S *const dgate = op.dgate.data() + first, *const dup = op.dup.data() + first;
    const auto one = simd::broadcast(S(1));
    simd::for_packets<S>(std::min(swiglu_tile, size - first), [&](auto at) {
      const auto z = at.load(gate), s = simd::sigmoid<S>(z), g = at.load(dy), u = at.load(up);
      at.store(dup, g * (z * s));
      at.store(dgate, g * u * (s * (one + z * (one - s))));  // last: dgate may be dy
    });
  });
}

}  // namespace midus
