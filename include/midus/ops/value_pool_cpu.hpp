// Cpu form of ops/value_pool.hpp: forward.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/ops/rows_cpu.hpp"
#include "midus/ops/value_pool.hpp"

namespace midus {

inline constexpr Index value_pool_reads = 64;  // reads of one (r, g) each, in a task

/// Calls `f(rows, r, g)` for every (r, g) with the rows of `values` [1 or G, N, W] that it retrieves. Tasks
/// walk along r and g, or, where every head has a bank of its own, along the rows of one head.
template <class S, class Stored, class F>
void for_reads(Cpu<S>& device, const View<const std::int32_t, 3>& slots, const View<const Stored, 3>& values,
               F&& f) {
  const Index R = slots.extent(0), G = slots.extent(1), K = slots.extent(2);
  const Index N = values.extent(1), W = values.extent(2), reads = R * G;
  const bool own_banks = values.extent(0) > 1;
  device.parallel_for((reads + value_pool_reads - 1) / value_pool_reads, [&](Index task, Arena& scratch) {
    const Stored** at = take<const Stored*>(scratch, K);
    const Stored** next = take<const Stored*>(scratch, K);
    const auto find = [&](Index read, const Stored** rows) {
      const Index r = own_banks ? read % R : read / G, g = own_banks ? read / R : read % G;
      const std::int32_t* const slot = slots.row(r, g);
      const Stored* const bank = values.data() + (own_banks ? g * N * W : 0);
      for (Index i = 0; i < K; ++i) rows[i] = bank + slot[i] * W;
    };
    const Index begin = task * value_pool_reads, end = std::min(begin + value_pool_reads, reads);
    find(begin, next);
    for (Index read = begin; read < end; ++read) {
      std::swap(at, next);
      find(std::min(read + 1, reads - 1), next);
      f(Rows<Stored>{at, next, K, W}, own_banks ? read % R : read / G, own_banks ? read / R : read % G);
    }
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ValuePool<S>& op) {
  const auto pool = [&](const auto& values) {
    for_reads(device, op.slots, values, [&](const auto& rows, Index r, Index g) {
      sum_rows(rows, op.weights.row(r, g), op.pooled.row(r, g), op.accumulate);
    });
  };
  if (op.values.is_bfloat16())
    pool(op.values.half());
  else
    pool(op.values.full());
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ValuePoolBackward<S>& op) {
  const auto dot = [&](const auto& values) {
    for_reads(device, op.slots, values, [&](const auto& rows, Index r, Index g) {
      dot_rows(rows, op.dpooled.row(r, g), op.dweights.row(r, g));
    });
  };
  if (op.values.is_bfloat16())
    dot(op.values.half());
  else
    dot(op.values.full());
  if (op.dvalues.empty()) return;
  const Index R = op.dpooled.extent(0), G = op.dpooled.extent(1), W = op.dpooled.extent(2);
  const Index K = op.slots.extent(2);
  if (R == 0 || G == 0) return;
  const bool own_banks = op.values.extent(0) > 1;
  // The columns of a thread: how they are cut is in no sum, each goes over the reads in their order.
  constexpr Index line = 64 / static_cast<Index>(sizeof(S));  // of the cache
  const Index share = (W + device.threads() - 1) / device.threads(),
              columns = (share + line - 1) / line * line;
  device.parallel_for((W + columns - 1) / columns, [&](Index task, Arena&) {
    const Index begin = task * columns, width = std::min(columns, W - begin);
    const Index fetched = std::min<Index>(width, 8 * line);
    const auto row_of = [&](Index read, Index i) {
      return op.dvalues.row(own_banks ? read % G : 0, op.slots.data()[read * K + i]) + begin;
    };
    for (Index read = 0; read < R * G; ++read) {
      const S *const dz = op.dpooled.data() + read * W + begin, *const w = op.weights.data() + read * K;
      const Index next = std::min(read + 1, R * G - 1);
      for (Index i = 0; i < K; ++i) {
        const S* const later = row_of(next, i);
        for (Index c = 0; c < fetched; c += line) __builtin_prefetch(later + c, 1);
        S* const dv = row_of(read, i);
        const auto weight = simd::broadcast(w[i]);
        simd::for_packets<S>(
            width, [&](auto at) { at.store(dv, simd::multiply_add(weight, at.load(dz), at.load(dv))); });
      }
    }
  });
}

}  // namespace midus
