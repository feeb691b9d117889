// RMS normalisation and its backward.
#include "midus/ops/rms_norm_cpu.hpp"

#include "op_bench.hpp"
#include "reference/rms_norm.hpp"

namespace midus::bench {
namespace {

struct RmsNormCase {
  Index R, d;
  bool backward = false;

  template <class D, class Go>
  void operator()(Tensors<D>& t, Go&& go) const {
    using S = typename D::Scalar;
    const auto x = t.random("x", Shape{R, d}), dy = t.random("dy", Shape{R, d});
    const auto weight = t.weight("weight", Shape{d});
    const auto y = t.output(Shape{R, d}), dx = t.random("dx", Shape{R, d});
    const auto inverse_rms = t.output(Shape{R}), dweight = t.random("dweight", Shape{d});
    const auto forward = [&] {
      run(t.device,
          RmsNorm<S>{.x = x, .weight = weight, .epsilon = 1e-5, .y = y, .inverse_rms = inverse_rms});
    };
    if (!backward) {
      go(forward);
      return t.keep("y", y);
    }
    forward();
    go([&] {
      run(t.device,
          RmsNormBackward<S>{
              .x = x, .weight = weight, .inverse_rms = inverse_rms, .dy = dy, .dx = dx, .dweight = dweight});
    });
    t.keep("dx", dx);
    t.keep("dweight", dweight);
  }
  double bytes() const { return 4.0 * static_cast<double>((backward ? 4 : 2) * R * d); }
  std::string title() const { return sizes({{"R", R}, {"d", d}}); }
};

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  using midus::bench::RmsNormCase;
  midus::bench::add<RmsNormCase>("forward", {33, 40}, {{2048, 128}, {4096, 256}, {16384, 768}});
  midus::bench::add<RmsNormCase>("backward", {33, 40, true},
                                 {{2048, 128, true}, {4096, 256, true}, {16384, 768, true}});
  return midus::bench::run_benchmarks(argc, argv);
}
