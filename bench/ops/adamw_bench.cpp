// One step of AdamW, and the sum of squares that the norm needs before it.
#include "midus/ops/adamw_cpu.hpp"

#include "midus/ops/sum_of_squares_cpu.hpp"
#include "op_bench.hpp"
#include "reference/adamw.hpp"
#include "reference/sum_of_squares.hpp"

namespace midus::bench {
namespace {

struct AdamwCase {
  Index n;

  template <class D, class Go>
  void operator()(Tensors<D>& t, Go&& go) const {
    using S = typename D::Scalar;
    const auto value = t.random("value", Shape{n}), grad = t.random("grad", Shape{n});
    const auto m = t.random("m", Shape{n}, 0.1);
    const auto v = t.make("v", Shape{n}, [](Index i) { return 0.1 * static_cast<double>(1 + i % 7); });
    go([&] {
      run(t.device, AdamwStep<S>{.value = value,
                                 .grad = grad,
                                 .exp_avg = m,
                                 .exp_avg_sq = v,
                                 .rate = 1e-3,
                                 .beta1 = 0.9,
                                 .beta2 = 0.95,
                                 .epsilon = 1e-8,
                                 .decay = 0.1,
                                 .grad_scale = 0.5,
                                 .step = 3});
    });
    t.keep("value", value);
    t.keep("m", m);
    t.keep("v", v);
  }
  double bytes() const { return 4.0 * static_cast<double>(7 * n); }
  std::string title() const { return sizes({{"n", n}}); }
};

struct SumOfSquaresCase {
  Index n;

  template <class D, class Go>
  void operator()(Tensors<D>& t, Go&& go) const {
    using S = typename D::Scalar;
    const auto x = t.random("x", Shape{n});
    const auto sums =
        t.template output_as<double>(Shape{(n + sum_of_squares_tile - 1) / sum_of_squares_tile});
    go([&] { run(t.device, SumOfSquares<S>{.x = x, .sums = sums}); });
    t.keep("sums", sums);
  }
  double bytes() const { return 4.0 * static_cast<double>(n); }
  std::string title() const { return sizes({{"n", n}}); }
};

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  using midus::bench::AdamwCase, midus::bench::SumOfSquaresCase;
  midus::bench::add<AdamwCase>("adamw", {1000}, {{1 << 16}, {1 << 20}, {1 << 25}});
  midus::bench::add<SumOfSquaresCase>("sum_of_squares", {1000}, {{1 << 16}, {1 << 20}, {1 << 25}});
  return midus::bench::run_benchmarks(argc, argv);
}
