// Cpu form of ops/cross_entropy.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/device/simd.hpp"
#include "midus/ops/cross_entropy.hpp"

namespace midus {

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const CrossEntropy<S>& op) {
  constexpr Index block = 512;  // of a row: summed in S; the blocks' sums are added in double
  const Index R = op.logits.extent(0), V = op.logits.extent(1);
  const Index tile = std::max<Index>(1, 8192 / std::max<Index>(1, V));
  device.parallel_for((R + tile - 1) / tile, [&](Index task, Arena&) {
    for (Index r = task * tile; r < std::min(R, (task + 1) * tile); ++r) {
      S* const dlogits = op.dlogits.empty() ? nullptr : op.dlogits.row(r);
      if (op.targets(r) == ignored_target) {
        op.losses(r) = S(0);
        if (dlogits != nullptr) std::fill_n(dlogits, V, S(0));
        continue;
      }
      const S* const logits = op.logits.row(r);
      const S largest = simd::largest_in(logits, V), target = logits[op.targets(r)];
      const auto shift = simd::broadcast(largest);
      double sum = 0;
      for (Index v = 0; v < V; v += block) {
        sum += static_cast<double>(simd::sum_over<S>(std::min(block, V - v), [&](auto at) {
          const auto e = simd::exp<S>(at.load(logits + v, -std::numeric_limits<S>::infinity()) - shift);
          if (dlogits != nullptr) at.store(dlogits + v, e);  // read before: it may be the logits' memory
          return e;
        }));
      }
      op.losses(r) =
          static_cast<S>(std::log(sum) - (static_cast<double>(target) - static_cast<double>(largest)));
      if (dlogits == nullptr) continue;
      const auto factor = simd::broadcast(static_cast<S>(op.scale / sum));
      simd::for_packets<S>(V, [&](auto at) { at.store(dlogits, at.load(dlogits) * factor); });
      dlogits[op.targets(r)] -= static_cast<S>(op.scale);
    }
  });
}

}  // namespace midus
