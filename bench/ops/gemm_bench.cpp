// The product of a linear layer and its backward: GFLOP/s and the share of the machine's peak.
#include "bench_support.hpp"
#include "midus/ops/gemm_cpu.hpp"
#include "reference/gemm.hpp"

namespace midus::bench {
namespace {

template <class S>
struct Problem {
  Index R, K, N;
  std::vector<S> x = numbers<S>(R * K, "x"), w = numbers<S>(N * K, "w"), dy = numbers<S>(R * N, "dy");
  std::vector<S> y = std::vector<S>(dy.size()), dx = std::vector<S>(x.size()), dw = std::vector<S>(w.size());

  Problem(Index rows, Index inner, Index outputs) : R(rows), K(inner), N(outputs) {}

  Gemm<S> forward() { return {.x = view(x, R, K), .w = view(w, N, K), .y = view(y, R, N)}; }
  GemmBackwardInput<S> input() { return {.dy = view(dy, R, N), .w = view(w, N, K), .dx = view(dx, R, K)}; }
  GemmBackwardWeight<S> weight() { return {.dy = view(dy, R, N), .x = view(x, R, K), .dw = view(dw, N, K)}; }

 private:
  static View<S, 2> view(std::vector<S>& data, Index rows, Index cols) {
    return {data.data(), Shape{rows, cols}};
  }
};

template <class S>
void verify(Index R, Index K, Index N) {
  Problem<S> got(R, K, N), expected(R, K, N);
  Cpu<S> cpu(2);
  Reference<S> reference;
  const auto all = [](auto& device, Problem<S>& problem) {
    run(device, problem.forward());
    run(device, problem.input());
    run(device, problem.weight());
  };
  all(cpu, got);
  all(reference, expected);
  const double bound =
      4 * static_cast<double>(std::numeric_limits<S>::epsilon()) * std::sqrt(std::max({R, K, N}));
  demand_equal("y", got.y, expected.y, bound);
  demand_equal("dx", got.dx, expected.dx, bound);
  demand_equal("dw", got.dw, expected.dw, bound);
}

enum Form { forward, input, weight };

template <class S, Form form>
void time_form(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(3));
  Problem<S> problem(state.range(0), state.range(1), state.range(2));
  Cpu<S> device(threads);
  for (auto _ : state) {
    if constexpr (form == forward) run(device, problem.forward());
    if constexpr (form == input) run(device, problem.input());
    if constexpr (form == weight) run(device, problem.weight());
  }
  report_flops<S>(state, 2.0 * static_cast<double>(problem.R * problem.K * problem.N), threads);
}

/// The same product by Eigen, on one thread.
template <Form form>
void beside_eigen(benchmark::State& state) {
  using Matrix = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
  Problem<float> problem(state.range(0), state.range(1), state.range(2)), other = problem;
  const Matrix x(other.x.data(), other.R, other.K), w(other.w.data(), other.N, other.K);
  const Matrix dy(other.dy.data(), other.R, other.N);
  Matrix y(other.y.data(), other.R, other.N), dx(other.dx.data(), other.R, other.K),
      dw(other.dw.data(), other.N, other.K);
  Cpu<float> device(1);
  if constexpr (form == forward)
    time_beside(
        state, 1, [&] { run(device, problem.forward()); }, [&] { y.noalias() = x * w.transpose(); });
  if constexpr (form == input)
    time_beside(
        state, 1, [&] { run(device, problem.input()); }, [&] { dx.noalias() = dy * w; });
  if constexpr (form == weight)
    time_beside(
        state, 1, [&] { run(device, problem.weight()); }, [&] { dw.noalias() += dy.transpose() * x; });
}
#define MIDUS_BENCH(form)                \
  BENCHMARK_TEMPLATE(beside_eigen, form) \
      ->ArgNames({"R", "K", "N"})        \
      ->Args({2048, 128, 352})           \
      ->UseManualTime()                  \
      ->Unit(benchmark::kMicrosecond)
MIDUS_BENCH(forward);
MIDUS_BENCH(input);
MIDUS_BENCH(weight);

template <int threads>
void shapes(benchmark::internal::Benchmark* b) {
  time_as(b->ArgNames({"R", "K", "N", "threads"}), threads);
  for (const auto& [R, K, N] : std::vector<std::array<std::int64_t, 3>>{{2048, 128, 352},
                                                                        {2048, 352, 128},
                                                                        {2048, 64, 176},
                                                                        {4096, 256, 704},
                                                                        {1024, 768, 2048},
                                                                        {1024, 768, 50304 / 8},
                                                                        {1, 768, 2048}})
    b->Args({R, K, N, threads});
}

BENCHMARK_TEMPLATE(time_form, float, forward)->Apply(shapes<1>);
BENCHMARK_TEMPLATE(time_form, float, input)->Apply(shapes<1>);
BENCHMARK_TEMPLATE(time_form, float, weight)->Apply(shapes<1>);
BENCHMARK_TEMPLATE(time_form, float, forward)->Apply(shapes<2>);
BENCHMARK_TEMPLATE(time_form, float, input)->Apply(shapes<2>);
BENCHMARK_TEMPLATE(time_form, float, weight)->Apply(shapes<2>);
BENCHMARK_TEMPLATE(time_form, double, forward)->Apply(shapes<1>);
BENCHMARK_TEMPLATE(time_form, double, weight)->Apply(shapes<1>);

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  midus::bench::verify<float>(2048, 128, 352);
  midus::bench::verify<float>(257, 701, 90);
  midus::bench::verify<double>(300, 352, 128);
  return midus::bench::run_benchmarks(argc, argv);
}
