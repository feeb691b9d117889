// Cpu forms of ops/rms_norm.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/device/simd.hpp"
#include "midus/ops/rms_norm.hpp"

namespace midus {

inline constexpr Index rms_norm_rows = 32;  // a task

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const RmsNorm<S>& op) {
  const Index R = op.x.extent(0), d = op.x.extent(1);
  device.parallel_for((R + rms_norm_rows - 1) / rms_norm_rows, [&](Index task, Arena& scratch) {
    const S* const w = op.weight.widen(0, d, take<S>(scratch, d));
    for (Index r = task * rms_norm_rows; r < std::min(R, (task + 1) * rms_norm_rows); ++r) {
      const S *const x = op.x.row(r), squares = simd::sum_over<S>(d, [&](auto at) {
                                        const auto v = at.load(x);
                                        return v * v;
                                      });
      const S inverse_rms =
          S(1 / std::sqrt(static_cast<double>(squares) / static_cast<double>(d) + op.epsilon));
      const auto s = simd::broadcast(inverse_rms);
      S* const y = op.y.row(r);
      simd::for_packets<S>(d, [&](auto at) { at.store(y, at.load(w) * (at.load(x) * s)); });
      op.inverse_rms(r) = inverse_rms;
    }
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const RmsNormBackward<S>& op) {
  const Index R = op.x.extent(0), d = op.x.extent(1), tiles = (R + rms_norm_rows - 1) / rms_norm_rows;
  const bool trained = !op.dweight.empty();
  if (R == 0) return;
  const auto scope = device.scope();
  // Each task sums its own rows; the tasks' sums are then added in their order.
  const View<S, 2> parts = trained ? device.allocate(Shape{tiles, d}) : View<S, 2>();
  device.parallel_for(tiles, [&](Index task, Arena& scratch) {
    const S* const w = op.weight.widen(0, d, take<S>(scratch, d));
    S* const part = trained ? parts.row(task) : nullptr;
    if (trained) std::fill_n(part, d, S(0));
    for (Index r = task * rms_norm_rows; r < std::min(R, (task + 1) * rms_norm_rows); ++r) {
      const S *const x = op.x.row(r), *const dy = op.dy.row(r);
      S* const dx = op.dx.row(r);
      const S inverse_rms = op.inverse_rms(r);
      const S g_x = simd::sum_over<S>(d, [&](auto at) { return at.load(dy) * at.load(w) * at.load(x); });
      const auto s = simd::broadcast(inverse_rms);
      const auto mean = simd::broadcast(static_cast<S>(
          static_cast<double>(g_x) * static_cast<double>(inverse_rms) / static_cast<double>(d)));  // of g x̂
      simd::for_packets<S>(d, [&](auto at) {
        const auto normed = at.load(x) * s, g = at.load(dy) * at.load(w);
        at.store(dx, at.load(dx) + s * (g - normed * mean));
        if (trained) at.store(part, at.load(part) + at.load(dy) * normed);
      });
    }
  });
  if (!trained) return;
  constexpr Index tile = 256;
  device.parallel_for((d + tile - 1) / tile, [&](Index task, Arena&) {
    const Index c = task * tile, cols = std::min(tile, d - c);
    S* const dweight = op.dweight.data() + c;
    for (Index i = 0; i < tiles; ++i) {
      const S* const part = parts.row(i) + c;
      for (Index j = 0; j < cols; ++j) dweight[j] += part[j];
    }
  });
}

}  // namespace midus
