// The loss of a block of logits with its gradient, in place of the logits.
#include "midus/ops/cross_entropy_cpu.hpp"

#include "op_bench.hpp"
#include "reference/cross_entropy.hpp"

namespace midus::bench {
namespace {

struct CrossEntropyCase {
  Index R, V;

  template <class D, class Go>
  void operator()(Tensors<D>& t, Go&& go) const {
    using S = typename D::Scalar;
    const auto logits = t.random("logits", Shape{R, V});
    const auto dlogits = t.output(Shape{R, V});
    const auto losses = t.output(Shape{R});
    const auto targets = t.integers(Shape{R}, [&](Index i) { return i * 7 % V; });
    go([&] {
      run(t.device, CrossEntropy<S>{.logits = logits,
                                    .targets = targets,
                                    .losses = losses,
                                    .dlogits = dlogits,
                                    .scale = 1 / static_cast<double>(R)});
    });
    t.keep("losses", losses);
    t.keep("dlogits", dlogits);
  }
  double bytes() const { return 4.0 * static_cast<double>(2 * R * V); }
  std::string title() const { return sizes({{"R", R}, {"V", V}}); }
};

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  using midus::bench::CrossEntropyCase;
  midus::bench::add<CrossEntropyCase>("cross_entropy", {9, 50}, {{2048, 256}, {1024, 4096}, {256, 50304}});
  return midus::bench::run_benchmarks(argc, argv);
}
