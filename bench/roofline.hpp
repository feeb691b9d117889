// What this machine can do at most: multiply-adds and bytes a second, measured.
#pragma once

#include <time.h>

#include <algorithm>
#include <vector>

#include "midus/core/random.hpp"
#include "midus/device/peak.hpp"
#include "midus/device/simd.hpp"
#include "midus/device/threads.hpp"

namespace midus::bench {

/// Seconds on the wall or, for work on the calling thread alone, of its processor time, which other programs
/// disturb less.
inline double clock_seconds(int threads) {
  timespec now;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// The shortest of `rounds` runs of f.
template <class F>
double seconds(int threads, int rounds, F&& f) {
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const double start = clock_seconds(threads);
    f();
    best = std::min(best, clock_seconds(threads) - start);
  }
  return best;
}

/// The most floating-point operations a second (a multiply-add is two) on so many threads, in 10^9.
template <class S>
double peak_gflops(int threads) {
  Cpu<S> device(threads);
  return 1e-9 * measure_peak(device);
}

/// Bytes a second, in 10^9, that so many threads copy (read plus written) in memory far larger than the
/// cache.
inline double copy_gigabytes(int threads) {
  constexpr std::size_t count = std::size_t{1} << 26;  // 512 MiB in all
  constexpr Index tasks = 256;
  ThreadPool pool(threads);
  std::vector<float> from(count, 1.0f), to(count, 2.0f);
  const double time = seconds(threads, 5, [&] {
    pool.parallel_for(tasks, [&](Index task, int) {
      constexpr std::size_t part = count / tasks;
      std::copy_n(from.data() + static_cast<std::size_t>(task) * part, part,
                  to.data() + static_cast<std::size_t>(task) * part);
    });
  });
  return 1e-9 * 2 * sizeof(float) * static_cast<double>(count) / time;
}

/// Bytes a second, in 10^9, that so many threads read of random rows of `width` floats out of a table of
/// `rows`.
inline double gather_gigabytes(int threads, Index rows, Index width) {
  constexpr Index tasks = 64, reads = 4096;  // each
  ThreadPool pool(threads);
  const std::vector<float> table(static_cast<std::size_t>(rows * width), 1.0f);
  std::vector<Index> order(static_cast<std::size_t>(tasks * reads));
  const Random random(1, "gather");
  for (Index i = 0; i < tasks * reads; ++i)
    order[static_cast<std::size_t>(i)] =
        static_cast<Index>(random.below(i, static_cast<std::uint64_t>(rows)));
  std::vector<float> sums(tasks);
  const double time = seconds(threads, 5, [&] {
    pool.parallel_for(tasks, [&](Index task, int) {
      std::vector<float> sum(static_cast<std::size_t>(width));
      for (Index i = 0; i < reads; ++i) {
        const float* const row = table.data() + order[static_cast<std::size_t>(task * reads + i)] * width;
        for (Index j = 0; j < width; ++j) sum[static_cast<std::size_t>(j)] += row[j];
      }
      sums[static_cast<std::size_t>(task)] = sum[0];
    });
  });
  return 1e-9 * sizeof(float) * static_cast<double>(tasks * reads * width) / time;
}

/// Reads memory far larger than the cache, each thread in four streams at once.
class MemoryReader {
 public:
  static constexpr Index count = Index{1} << 27;  // of floats: 512 MiB
  static constexpr double gigabytes = 1e-9 * sizeof(float) * static_cast<double>(count);

  explicit MemoryReader(int threads) : pool_(threads) {}

  /// Reads all of it once.
  void operator()() {
    pool_.parallel_for(tasks, [&](Index task, int) {
      const float* const at = from_.data() + task * streams * part;
      simd::Packet<float> sum[streams];
      MIDUS_UNROLL
      for (auto& each : sum) each = simd::broadcast(0.0f);
      for (Index i = 0; i < part; i += simd::width<float>) {
        MIDUS_UNROLL
        for (Index s = 0; s < streams; ++s) sum[s] = sum[s] + simd::load(at + s * part + i);
      }
      sums_[static_cast<std::size_t>(task)] = simd::sum_of<float>((sum[0] + sum[1]) + (sum[2] + sum[3]));
    });
  }

 private:
  static constexpr Index streams = 4, tasks = 1024, part = count / tasks / streams;
  ThreadPool pool_;
  std::vector<float> from_ = std::vector<float>(static_cast<std::size_t>(count), 1.0f);
  std::vector<float> sums_ = std::vector<float>(static_cast<std::size_t>(tasks));
};

/// Bytes a second, in 10^9, that so many threads read from memory.
inline double read_gigabytes(int threads) {
  MemoryReader read(threads);
  return MemoryReader::gigabytes / seconds(threads, 5, read);
}

}  // namespace midus::bench
