// The value pool: ns per (row, head) and GB/s of gathered values, forward, backward of the weights, and of
// both weights and values. Random slots; `hot` sends half of the reads to 16 slots.
#include "midus/ops/value_pool_cpu.hpp"

#include "bench_support.hpp"
#include "reference/value_pool.hpp"

namespace midus::bench {
namespace {

using S = float;

struct Problem {
  Index R, G, K, N, W;
  std::vector<std::int32_t> slots;
  std::vector<S> weights = numbers<S>(R * G * K, "weights"), values = numbers<S>(N * W, "values");
  std::vector<bfloat16> half;
  std::vector<S> dpooled = numbers<S>(R * G * W, "dpooled"), pooled = std::vector<S>(dpooled.size());
  std::vector<S> dweights = std::vector<S>(weights.size()), dvalues = std::vector<S>(values.size());

  Problem(Index r, Index g, Index k, Index n, Index w, bool hot = false) : R(r), G(g), K(k), N(n), W(w) {
    const Random random(1, "slots");
    for (Index i = 0; i < R * G * K; ++i) {
      const bool few = hot && random.bits(i) % 2 == 0;
      slots.push_back(static_cast<std::int32_t>(random.below(i, static_cast<std::uint64_t>(few ? 16 : N))));
    }
    for (const S x : values) half.push_back(bfloat16::from(x));
  }
  Shape<3> chosen() const { return {{R, G, K}}; }
  ValuePool<S> forward(bool bf16 = false) {
    return {.slots = View<const std::int32_t, 3>(slots.data(), chosen()),
            .weights = View<const S, 3>(weights.data(), chosen()),
            .values = bank(bf16),
            .pooled = {pooled.data(), Shape{R, G, W}}};
  }
  ValuePoolBackward<S> backward(bool bf16 = false) {
    return {.slots = View<const std::int32_t, 3>(slots.data(), chosen()),
            .weights = View<const S, 3>(weights.data(), chosen()),
            .values = bank(bf16),
            .dpooled = View<const S, 3>(dpooled.data(), Shape{R, G, W}),
            .dweights = {dweights.data(), chosen()},
            .dvalues = {dvalues.data(), Shape{Index{1}, N, W}}};
  }

 private:
  WeightView<S, 3> bank(bool bf16) {
    const Shape<3> shape{{1, N, W}};
    if (bf16) return View<const bfloat16, 3>(half.data(), shape);
    return View<const S, 3>(values.data(), shape);
  }
};

void verify(Index R, Index G, Index K, Index N, Index W) {
  Problem got(R, G, K, N, W), expected(R, G, K, N, W);
  Cpu<S> cpu(2);
  Reference<S> reference;
  const auto all = [](auto& device, Problem& problem) {
    run(device, problem.forward());
    run(device, problem.backward());
  };
  all(cpu, got);
  all(reference, expected);
  demand_equal("pooled", got.pooled, expected.pooled, 1e-5);
  demand_equal("dweights", got.dweights, expected.dweights, 1e-5);
  demand_equal("dvalues", got.dvalues, expected.dvalues, 1e-5);
}

enum class What { forward, forward_bf16, dweights, backward, backward_hot };

template <What what>
void time_form(benchmark::State& state) {
  Problem problem(state.range(0), state.range(1), state.range(2), state.range(3), state.range(4),
                  what == What::backward_hot);
  Cpu<S> device(static_cast<int>(state.range(5)));
  auto backward = problem.backward();
  if (what == What::dweights) backward.dvalues = {};
  for (auto _ : state) {
    if constexpr (what == What::forward || what == What::forward_bf16)
      run(device, problem.forward(what == What::forward_bf16));
    else
      run(device, backward);
  }
  using benchmark::Counter;
  const double reads = static_cast<double>(state.iterations() * problem.R * problem.G);
  const double bytes = static_cast<double>(problem.K * problem.W) * (what == What::forward_bf16 ? 2 : 4);
  state.counters["ns/read"] = Counter(1e-9 * reads, Counter::kIsRate | Counter::kInvert);
  state.counters["GB/s"] = Counter(1e-9 * bytes * reads, Counter::kIsRate);
  if (what == What::forward) {
    const int threads = static_cast<int>(state.range(5));
    state.counters["%gather"] =
        Counter(100e-9 * bytes * reads / gather_gigabytes(threads, problem.N, problem.W), Counter::kIsRate);
  }
}

/// The plain loops of the reference, on one thread.
template <bool backward>
void beside_reference(benchmark::State& state) {
  time_form_beside<backward>(state, Cpu<S>(1), Reference<S>(), Problem(2048, 4, 8, 64 * 64, 32));
}
BENCHMARK_TEMPLATE(beside_reference, false)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_TEMPLATE(beside_reference, true)->UseManualTime()->Unit(benchmark::kMicrosecond);

/// The quickstart's sizes, and those of a Llama-3.2-1B with n = 128, 256 and r = 128.
template <int threads>
void shapes(benchmark::internal::Benchmark* b) {
  time_as(b->ArgNames({"R", "G", "K", "N", "W", "threads"}), threads);
  b->Args({2048, 4, 8, 64 * 64, 32, threads});
  b->Args({2048, 8, 16, 128 * 128, 64, threads});
  b->Args({512, 32, 16, 128 * 128, 128, threads});
  b->Args({512, 32, 16, 256 * 256, 128, threads});
  b->Args({512, 1, 64, 128 * 128, 512, threads});
}

#define MIDUS_BENCH(what)                                      \
  BENCHMARK_TEMPLATE(time_form, What::what)->Apply(shapes<1>); \
  BENCHMARK_TEMPLATE(time_form, What::what)->Apply(shapes<2>)
MIDUS_BENCH(forward);
MIDUS_BENCH(forward_bf16);
MIDUS_BENCH(dweights);
MIDUS_BENCH(backward);
MIDUS_BENCH(backward_hot);

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  midus::bench::verify(70, 4, 16, 300, 64);
  midus::bench::verify(9, 1, 33, 5000, 100);
  return midus::bench::run_benchmarks(argc, argv);
}
