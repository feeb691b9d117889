// Benchmarks of ops that move more bytes than they compute: bytes a second, and their share of what the
// machine copies.
//
// A *case* is called with the tensors of a device and `go`: it makes its inputs, hands `go` what is to be
// timed, and keeps what was written. So the op that is timed is the one that was compared.
#pragma once

#include <memory>

#include "bench_support.hpp"
#include "midus/device/cpu.hpp"
#include "support/tensors.hpp"

namespace midus::bench {

/// Ends the program where the processor's form is not the reference's.
template <class Case>
void verify(const std::string& name, const Case& run_case) {
  Tensors<Cpu<float>> got(2);
  Tensors<Reference<double>> expected;
  const auto once = [](auto&& f) { f(); };
  run_case(got, once);
  run_case(expected, once);
  for (const auto& [tensor, result] : expected.results())
    demand_equal((name + ": " + tensor).c_str(), got.results().at(tensor).values, result.values, 1e-5);
}

/// How many times as long the plain loops of the reference take, on one thread.
template <class Case>
void beside_reference(benchmark::State& state, const Case& run_case) {
  Tensors<Cpu<float>> ours(1);
  Tensors<Reference<float>> plain;
  run_case(ours,
           [&](auto&& form) { run_case(plain, [&](auto&& loops) { time_beside(state, 1, form, loops); }); });
}

/// Checks a case with few rows, then registers it at its sizes for one and for two threads, and the first
/// beside the reference. `bytes`: that the op must read and write at least.
template <class Case>
void add(const std::string& name, const Case& small, const std::vector<Case>& cases) {
  verify(name, small);
  benchmark::RegisterBenchmark(
      (name + "_beside_reference/" + cases.front().title()).c_str(),
      [run_case = cases.front()](benchmark::State& state) { beside_reference(state, run_case); })
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
  for (const Case& run_case : cases)
    for (const int threads : {1, 2}) {
      const std::string title = text(name, "/", run_case.title(), "/threads:", threads);
      time_as(benchmark::RegisterBenchmark(title.c_str(),
                                           [run_case, threads](benchmark::State& state) {
                                             Tensors<Cpu<float>> t(threads);
                                             run_case(t, [&](auto&& f) {
                                               for (auto _ : state) f();
                                             });
                                             report_bytes(state, run_case.bytes(), threads);
                                           }),
              threads);
    }
}

inline std::string sizes(std::initializer_list<std::pair<const char*, Index>> numbers) {
  std::string out;
  for (const auto& [name, number] : numbers) out += text(out.empty() ? "" : "/", name, ":", number);
  return out;
}

}  // namespace midus::bench
