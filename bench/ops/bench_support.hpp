// Shared by the benchmarks of ops.
#pragma once

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "midus/core/random.hpp"
#include "roofline.hpp"

namespace midus::bench {

/// Normal random numbers, the same for every device.
template <class S>
std::vector<S> numbers(Index count, const char* name) {
  const Random random(1, name);
  std::vector<S> x(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) x[static_cast<std::size_t>(i)] = static_cast<S>(random.normal(i));
  return x;
}

/// Ends the program where `got` is not `expected` to `bound` of its largest element.
template <class S>
void demand_equal(const char* what, const std::vector<S>& got, const std::vector<S>& expected, double bound) {
  double largest = 0, worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    if (!(error <= worst)) worst = error;
    largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
  }
  if (worst <= bound * largest) return;
  std::fprintf(stderr, "%s: off by %g, the largest element is %g\n", what, worst, largest);
  std::exit(1);
}

/// One thread is timed by its processor time, more by the wall.
inline void time_as(benchmark::internal::Benchmark* b, int threads) {
  b->Unit(benchmark::kMicrosecond);
  if (threads > 1) b->UseRealTime();
}

/// "GFLOP/s" and its share of the peak of as many threads. Call it after the loop.
template <class S>
void report_flops(benchmark::State& state, double flops_per_iteration, int threads) {
  static const double peaks[] = {peak_gflops<S>(1), peak_gflops<S>(2)};
  const double peak = threads <= 2 ? peaks[threads - 1] : peaks[0] * threads;
  using benchmark::Counter;
  state.counters["GFLOP/s"] =
      Counter(1e-9 * flops_per_iteration * static_cast<double>(state.iterations()), Counter::kIsRate);
  state.counters["%peak"] = Counter(
      100e-9 * flops_per_iteration * static_cast<double>(state.iterations()) / peak, Counter::kIsRate);
}

/// "GB/s" and its share of what so many threads copy. Call it after the loop.
inline void report_bytes(benchmark::State& state, double bytes_per_iteration, int threads) {
  static const double copies[] = {copy_gigabytes(1), copy_gigabytes(2)};
  using benchmark::Counter;
  const double bytes = bytes_per_iteration * static_cast<double>(state.iterations());
  state.counters["GB/s"] = Counter(1e-9 * bytes, Counter::kIsRate);
  state.counters["%copy"] = Counter(100e-9 * bytes / copies[threads <= 1 ? 0 : 1], Counter::kIsRate);
}

/// Times `ours` beside `peer`, in turns: the benchmark's time is ours, the counter "peer/ours" says how many
/// times as long the peer takes. Needs UseManualTime().
template <class Ours, class Peer>
void time_beside(benchmark::State& state, int threads, Ours&& ours, Peer&& peer) {
  double of_ours = 0, of_peer = 0;
  for (auto _ : state) {
    const double begin = clock_seconds(threads);
    ours();
    const double between = clock_seconds(threads);
    peer();
    const double end = clock_seconds(threads);
    of_ours += between - begin;
    of_peer += end - between;
    state.SetIterationTime(between - begin);
  }
  state.counters["peer/ours"] = of_peer / of_ours;
}

/// Times a problem's forward or backward op on one device beside that of another, on one thread.
template <bool backward, class Ours, class Plain, class Problem>
void time_form_beside(benchmark::State& state, Ours&& device, Plain&& plain, Problem problem) {
  Problem other = problem;
  run(device, problem.forward());  // what a backward op reads
  run(plain, other.forward());
  const auto form = [](auto& on, Problem& of) {
    if constexpr (backward)
      run(on, of.backward());
    else
      run(on, of.forward());
  };
  time_beside(
      state, 1, [&] { form(device, problem); }, [&] { form(plain, other); });
}

inline int run_benchmarks(int argc, char** argv) {
  std::printf(
      "peak: %.1f GFLOP/s in f32 on one thread, %.1f on two; copy %.1f GB/s on one thread, %.1f on two\n",
      peak_gflops<float>(1), peak_gflops<float>(2), copy_gigabytes(1), copy_gigabytes(2));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace midus::bench
