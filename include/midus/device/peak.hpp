// How much arithmetic the processor could do: what a step's speed is measured against.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include "midus/device/cpu.hpp"
#include "midus/device/simd.hpp"

namespace midus {

/// Sums that `multiply_adds` carries at once: more than a multiply-add's latency times those that a cycle
/// begins, and they fit into 16 registers.
inline constexpr int multiply_add_chains = 12;

/// `count` times x = ± factor · term + x, in each chain: nothing but registers is involved. (Of the other
/// form, x · factor + term, clang makes a copy of the term each time, and keeps the chains in memory for it.)
template <class S>
[[gnu::noinline]] S multiply_adds(Index count, S factor, S term) {
  simd::Packet<S> x[multiply_add_chains];  // NOLINT: std::array of packets draws warnings from g++
  auto a = simd::broadcast(factor);
  const auto b = simd::broadcast(term);
  MIDUS_UNROLL
  for (int i = 0; i < multiply_add_chains; ++i) x[i] = simd::broadcast(static_cast<S>(i));
  for (Index k = 0; k < count; ++k) {
    a = -a;  // one product for all would be formed once where the processor does not fuse
    MIDUS_UNROLL
    for (int i = 0; i < multiply_add_chains; ++i) x[i] = simd::multiply_add(a, b, x[i]);
  }
  S sum = 0;
  MIDUS_UNROLL
  for (int i = 0; i < multiply_add_chains; ++i) sum += simd::sum_of<S>(x[i]);
  return sum;
}

/// The floating-point operations a second (a multiply-add is two) that the device's threads reach when
/// nothing but registers is involved. Takes about a twentieth of a second; the best of several runs.
template <class S>
double measure_peak(Cpu<S>& device) {
  constexpr Index count = 1 << 20;
  const Index tasks = device.threads();
  const S factor = S(0.999), term = S(0.001);
  std::vector<S> results(static_cast<std::size_t>(tasks));
  double best = 0;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const auto begin = std::chrono::steady_clock::now();
    device.parallel_for(tasks, [&](Index task, Arena&) {
      results[static_cast<std::size_t>(task)] = multiply_adds<S>(count, factor, term);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const auto flops = static_cast<double>(2 * multiply_add_chains * simd::width<S> * count * tasks);
    best = std::max(best, flops / seconds.count());
  }
  return best;
}

}  // namespace midus
