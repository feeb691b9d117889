// Cpu form of ops/rotary.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/device/simd.hpp"
#include "midus/ops/rotary.hpp"

namespace midus {

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const Rotary<S>& op) {
  constexpr Index tile = 32;
  const Index R = op.x.extent(0), H = op.x.extent(1), D = op.x.extent(2), half = D / 2;
  const auto sign = simd::broadcast(S(op.inverse ? -1 : 1));
  device.parallel_for((R + tile - 1) / tile, [&](Index task, Arena&) {
    for (Index r = task * tile; r < std::min(R, (task + 1) * tile); ++r) {
      const S *const cosines = op.cos.row(op.positions(r)), *const sines = op.sin.row(op.positions(r));
      for (Index h = 0; h < H; ++h) {
        S *const x = op.x.row(r, h), *const y = x + half;
        simd::for_packets<S>(half, [&](auto at) {
          const auto a = at.load(x), b = at.load(y), cos = at.load(cosines), sin = sign * at.load(sines);
          at.store(x, simd::multiply_add(a, cos, -(b * sin)));
          at.store(y, simd::multiply_add(b, cos, a * sin));
        });
      }
    }
  });
}

}  // namespace midus
