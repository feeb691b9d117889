// Cpu forms of ops/embedding.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/ops/embedding.hpp"

namespace midus {

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const Embedding<S>& op) {
  constexpr Index tile = 64;
  const Index R = op.y.extent(0), d = op.y.extent(1);
  device.parallel_for((R + tile - 1) / tile, [&](Index task, Arena&) {
    for (Index r = task * tile; r < std::min(R, (task + 1) * tile); ++r) {
      S* const y = op.y.row(r);
      const S* const row = op.table.widen(op.ids(r) * d, d, y);
      if (row != y) std::copy_n(row, d, y);
    }
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const EmbeddingBackward<S>& op) {
  constexpr Index line = 64 / static_cast<Index>(sizeof(S));  // of the cache
  const Index R = op.dy.extent(0), d = op.dy.extent(1);
  if (R == 0) return;
  // The columns of a thread: how they are cut is in no sum, each goes over the rows in their order.
  const Index share = (d + device.threads() - 1) / device.threads(), tile = (share + line - 1) / line * line;
  device.parallel_for((d + tile - 1) / tile, [&](Index task, Arena&) {
    const Index c = task * tile, cols = std::min(tile, d - c);
    for (Index r = 0; r < R; ++r) {
      const S* const dy = op.dy.row(r) + c;
      S* const dtable = op.dtable.row(op.ids(r)) + c;
      for (Index i = 0; i < cols; ++i) dtable[i] += dy[i];
    }
  });
}

}  // namespace midus
