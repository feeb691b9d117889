// Causal attention: GFLOP/s of the products that the mask leaves (half of T², 2 forward and 5 backward).
#include "bench_support.hpp"
#include "midus/ops/causal_attention_cpu.hpp"
#include "reference/causal_attention.hpp"

namespace midus::bench {
namespace {

using S = float;

struct Problem {
  Index B, T, H, KV, D, past;
  std::vector<S> q = numbers<S>(B * T * H * D, "q"), dy = numbers<S>(B * T * H * D, "dy");
  std::vector<S> k = numbers<S>(B * (past + T) * KV * D, "k"), v = numbers<S>(B * (past + T) * KV * D, "v");
  std::vector<S> y = std::vector<S>(q.size()), dq = y, dk = std::vector<S>(k.size()), dv = dk;
  std::vector<std::int32_t> pasts =
      std::vector<std::int32_t>(static_cast<std::size_t>(B), static_cast<std::int32_t>(past));
  std::vector<S> log_sum = std::vector<S>(static_cast<std::size_t>(B * H * T));

  Problem(Index b, Index t, Index h, Index kv, Index d, Index before)
      : B(b), T(t), H(h), KV(kv), D(d), past(before) {}

  CausalAttention<S> forward() {
    return {.q = heads(q, T, H),
            .k = heads(k, past + T, KV),
            .v = heads(v, past + T, KV),
            .y = heads(y, T, H),
            .log_sum = sums(),
            .past = {pasts.data(), Shape{B}}};
  }
  CausalAttentionBackward<S> backward() {
    return {.q = heads(q, T, H),
            .k = heads(k, T, KV),
            .v = heads(v, T, KV),
            .y = heads(y, T, H),
            .log_sum = sums(),
            .dy = heads(dy, T, H),
            .dq = heads(dq, T, H),
            .dk = heads(dk, T, KV),
            .dv = heads(dv, T, KV)};
  }
  /// Of one product of scores: what the mask leaves.
  double flops() const {
    const double pairs = static_cast<double>(T * past) + 0.5 * static_cast<double>(T * (T + 1));
    return 2 * pairs * static_cast<double>(B * H * D);
  }

 private:
  View<S, 4> heads(std::vector<S>& data, Index length, Index count) const {
    return {data.data(), Shape{B, length, count, D}};
  }
  View<S, 3> sums() { return {log_sum.data(), Shape{B, H, T}}; }
};

void verify(Index B, Index T, Index H, Index KV, Index D, Index past) {
  Problem got(B, T, H, KV, D, past), expected(B, T, H, KV, D, past);
  Cpu<S> cpu(2);
  Reference<S> reference;
  const auto all = [&](auto& device, Problem& problem) {
    run(device, problem.forward());
    if (past == 0) run(device, problem.backward());
  };
  all(cpu, got);
  all(reference, expected);
  demand_equal("y", got.y, expected.y, 2e-5);
  demand_equal("dq", got.dq, expected.dq, 2e-5);
  demand_equal("dk", got.dk, expected.dk, 2e-5);
  demand_equal("dv", got.dv, expected.dv, 2e-5);
}

template <bool backward>
void time_form(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(6));
  Problem problem(state.range(0), state.range(1), state.range(2), state.range(3), state.range(4),
                  state.range(5));
  Cpu<S> device(threads);
  run(device, problem.forward());
  for (auto _ : state) {
    if constexpr (backward)
      run(device, problem.backward());
    else
      run(device, problem.forward());
  }
  report_flops<S>(state, (backward ? 5 : 2) * problem.flops(), threads);
}

/// The plain loops of the reference, on one thread.
template <bool backward>
void beside_reference(benchmark::State& state) {
  time_form_beside<backward>(state, Cpu<S>(1), Reference<S>(), Problem(1, 128, 4, 4, 32, 0));
}
BENCHMARK_TEMPLATE(beside_reference, false)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_TEMPLATE(beside_reference, true)->UseManualTime()->Unit(benchmark::kMicrosecond);

template <int threads, bool backward>
void shapes(benchmark::internal::Benchmark* b) {
  time_as(b->ArgNames({"B", "T", "H", "KV", "D", "past", "threads"}), threads);
  b->Args({16, 128, 4, 4, 32, 0, threads});
  b->Args({16, 256, 8, 4, 32, 0, threads});
  b->Args({4, 256, 12, 12, 64, 0, threads});
  b->Args({1, 2048, 8, 2, 64, 0, threads});
  if (!backward) b->Args({8, 1, 8, 4, 64, 1023, threads});
}

BENCHMARK_TEMPLATE(time_form, false)->Apply(shapes<1, false>);
BENCHMARK_TEMPLATE(time_form, true)->Apply(shapes<1, true>);
BENCHMARK_TEMPLATE(time_form, false)->Apply(shapes<2, false>);
BENCHMARK_TEMPLATE(time_form, true)->Apply(shapes<2, true>);

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  midus::bench::verify(2, 150, 4, 2, 32, 0);
  midus::bench::verify(1, 3, 8, 4, 64, 300);
  return midus::bench::run_benchmarks(argc, argv);
}
