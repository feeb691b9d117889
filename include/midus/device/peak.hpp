// How much arithmetic the processor could do: what a step's speed is measured against.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include "midus/device/cpu.hpp"

namespace midus {

/// The multiply-adds that the device's threads do in a second when nothing but registers is involved, as
/// floating-point operations (two each). Takes about a twentieth of a second; the best of several runs.
template <class S>
double measure_peak(Cpu<S>& device) {
  using Vector [[gnu::vector_size(64)]] = S;
  constexpr int chains = 12, rounds = 1 << 14;
  const Index tasks = device.threads();
  double best = 0;
  std::vector<S> results(static_cast<std::size_t>(tasks));
  for (int attempt = 0; attempt < 5; ++attempt) {
    const auto begin = std::chrono::steady_clock::now();
    device.parallel_for(tasks, [&](Index task, Arena&) {
      Vector sums[chains / 2];
      Vector factor = Vector{} + S(0.999999), term = Vector{} + S(1e-6);
      for (int c = 0; c < chains / 2; ++c) sums[c] = Vector{} + static_cast<S>(c);
      for (int round = 0; round < rounds; ++round) {
        asm volatile("" : "+m"(factor), "+m"(term));  // no loop is the same as the one before
        for (int repeat = 0; repeat < 16; ++repeat)
          for (int c = 0; c < chains / 2; ++c) sums[c] = sums[c] * factor + term;
      }
      Vector total{};
      for (int c = 0; c < chains / 2; ++c) total += sums[c];
      results[static_cast<std::size_t>(task)] = total[0];
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const double flops = 2.0 * (64 / sizeof(S)) * (chains / 2) * 16 * rounds * static_cast<double>(tasks);
    best = std::max(best, flops / seconds.count());
  }
  return best;
}

}  // namespace midus
