// The exact top-k of product keys: the selection beside std::partial_sort on the same scores, and the whole
// op with its backward.
#include "midus/ops/product_key_top_k_cpu.hpp"

#include <algorithm>
#include <numeric>

#include "bench_support.hpp"
#include "ops/product_key_problem.hpp"

namespace midus::bench {
namespace {

using S = float;

/// Scores of `rows` look-ups on one side, and room for what is chosen.
struct Scores {
  Index rows, n, k;
  std::vector<S> x = numbers<S>(rows * n, "scores"),
                 values = std::vector<S>(static_cast<std::size_t>(k + top_k_slack));
  std::vector<std::int32_t> found = std::vector<std::int32_t>(values.size()),
                            order = std::vector<std::int32_t>(static_cast<std::size_t>(n));
  std::int64_t seen = 0;  // keeps the work from being left out

  Scores(Index rows_, Index n_, Index k_) : rows(rows_), n(n_), k(k_) {}

  const std::vector<std::int32_t>& by_partial_sort(Index row) {
    const S* const scores = x.data() + row * n;
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](std::int32_t a, std::int32_t b) {
      return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
    });
    return order;
  }
  const std::vector<std::int32_t>& by_midus(Index row) {
    top_k(x.data() + row * n, n, k, values.data(), found.data());
    return found;
  }
  void verify() {
    for (Index row = 0; row < rows; ++row)
      if (!std::equal(by_midus(row).begin(), by_midus(row).begin() + k, by_partial_sort(row).begin())) {
        std::fprintf(stderr, "top_k: row %ld is not what std::partial_sort gives\n", static_cast<long>(row));
        std::exit(1);
      }
  }
};

void selection_beside_partial_sort(benchmark::State& state) {
  Scores scores(1024, state.range(0), state.range(1));
  scores.verify();
  const auto all = [&](auto&& choose) {
    for (Index row = 0; row < scores.rows; ++row) scores.seen += choose(row)[0];
  };
  time_beside(
      state, 1, [&] { all([&](Index row) -> auto& { return scores.by_midus(row); }); },
      [&] { all([&](Index row) -> auto& { return scores.by_partial_sort(row); }); });
  benchmark::DoNotOptimize(scores.seen);
  using benchmark::Counter;
  state.counters["ns/row"] = Counter(1e-9 * static_cast<double>(state.iterations() * scores.rows),
                                     Counter::kIsRate | Counter::kInvert);
}
BENCHMARK(selection_beside_partial_sort)
    ->ArgNames({"n", "k"})
    ->ArgsProduct({{64, 128, 256, 512}, {8, 16, 32}})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

/// The op: scores of both sides, selection, the k² sums, softmax.
template <bool backward>
void look_up(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(5));
  ProductKeyProblem<S> problem(
      {state.range(0), state.range(1), state.range(2), state.range(3), state.range(4)}, 1, normal);
  Cpu<S> device(threads);
  run(device, problem.forward());
  for (auto _ : state) {
    if constexpr (backward)
      run(device, problem.backward());
    else
      run(device, problem.forward());
  }
  const auto& s = problem.shape;
  using benchmark::Counter;
  state.counters["ns/read"] = Counter(1e-9 * static_cast<double>(state.iterations() * s.R * s.H),
                                      Counter::kIsRate | Counter::kInvert);
}
template <int threads>
void shapes(benchmark::internal::Benchmark* b) {
  time_as(b->ArgNames({"R", "H", "D", "n", "k", "threads"}), threads);
  b->Args({2048, 4, 16, 64, 8, threads});
  b->Args({2048, 8, 64, 128, 16, threads});
  b->Args({512, 32, 64, 256, 16, threads});
}
BENCHMARK_TEMPLATE(look_up, false)->Apply(shapes<1>);
BENCHMARK_TEMPLATE(look_up, true)->Apply(shapes<1>);
BENCHMARK_TEMPLATE(look_up, false)->Apply(shapes<2>);
BENCHMARK_TEMPLATE(look_up, true)->Apply(shapes<2>);

void verify() {
  // Multiples of 1/4: their sums of products are exact, so the slots must be the same.
  ProductKeyProblem<S> got({70, 2, 14, 33, 4}, 1, coarse), expected = got;
  Cpu<S> cpu(2);
  Reference<S> reference;
  const auto all = [](auto& device, ProductKeyProblem<S>& problem) {
    run(device, problem.forward());
    run(device, problem.backward());
  };
  all(cpu, got);
  all(reference, expected);
  if (got.slots != expected.slots) {
    std::fprintf(stderr, "look_up: the slots are not the reference's\n");
    std::exit(1);
  }
  demand_equal("weights", got.weights, expected.weights, 1e-5);
  demand_equal("dquery", got.dquery, expected.dquery, 1e-5);
  demand_equal("drow_keys", got.drow_keys, expected.drow_keys, 1e-5);
}

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  midus::bench::verify();
  return midus::bench::run_benchmarks(argc, argv);
}
