#include "midus/ops/cross_entropy_cpu.hpp"

#include "reference/cross_entropy.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct CrossEntropyCase {
  Index R, V;
  double scale = 1;
  bool all_ignored = false;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const auto logits = t.random("logits", Shape{R, V}, scale), dlogits = t.output(Shape{R, V});
    const auto targets = t.integers(Shape{R}, [&](Index r) {
      return all_ignored || r % 4 == 3 ? Index{ignored_target} : (r * 31 + 7) % V;
    });
    const auto losses = t.output(Shape{R});
    CrossEntropy<S> op{.logits = logits, .targets = targets, .losses = losses};
    run(t.device, op);
    t.keep("losses alone", losses, V);
    op.dlogits = dlogits;
    op.scale = 0.125;
    run(t.device, op);
    t.keep("losses", losses, V);
    t.keep("dlogits", dlogits);
    op.dlogits = logits;
    run(t.device, op);
    t.keep("losses again", losses, V);
    t.keep("dlogits in place", logits);
  }
};

// The losses are weighted by one number each; so dlogits of scale 1/8 is compared row by row here.
TEST_CASE("cross_entropy: the reference's dlogits is the derivative of its losses") {
  constexpr Index R = 4, V = 6;
  const CrossEntropyCase shape{R, V};
  Tensors<Reference<double>> real;
  shape(real);
  for (Index i = 0; i < R * V; ++i) {
    Tensors<Reference<std::complex<double>>> complex;
    complex.perturbation = {"logits", i};
    shape(complex);
    double derivative = 0;
    for (const double x : complex.results().at("losses").imaginary)
      derivative += 0.125 * (x / Perturbation::step);
    CHECK(std::fabs(real.results().at("dlogits").values[static_cast<std::size_t>(i)] - derivative) <= 1e-15);
  }
}

TEMPLATE_LIST_TEST_CASE("cross_entropy: losses and gradients", "", Devices) {
  const auto shape =
      GENERATE(CrossEntropyCase{1, 1}, CrossEntropyCase{1, 13}, CrossEntropyCase{70, 257},
               CrossEntropyCase{5, 5003}, CrossEntropyCase{9, 40, 30}, CrossEntropyCase{9, 40, 3000},
               CrossEntropyCase{6, 33, 1, true}, CrossEntropyCase{0, 9});
  INFO("R " << shape.R << " V " << shape.V << " scale " << shape.scale);
  check_op<TestType>(shape);
}

TEMPLATE_LIST_TEST_CASE("cross_entropy: asking for gradients changes no bit of the losses", "", Devices) {
  const Results results = results_of<TestType>(CrossEntropyCase{40, 300}, false, 2);
  CHECK(results.at("losses").same_bits(results.at("losses alone")));
  CHECK(results.at("losses").same_bits(results.at("losses again")));
  CHECK(results.at("dlogits").same_bits(results.at("dlogits in place")));
}

TEMPLATE_LIST_TEST_CASE("cross_entropy: logits that are not finite", "", Devices) {
  using S = typename TestType::Scalar;
  constexpr S inf = std::numeric_limits<S>::infinity(), nan = std::numeric_limits<S>::quiet_NaN();
  Tensors<TestType> t(1);
  constexpr Index R = 6, V = 19;
  const auto logits = t.random("logits", Shape{R, V}), dlogits = t.output(Shape{R, V});
  const auto targets = t.integers(Shape{R}, [](Index r) { return r == 5 ? Index{ignored_target} : 1; });
  const auto losses = t.output(Shape{R});
  logits(0, 18) = nan;  // the loss is NaN
  logits(1, 4) = -inf;  // a word that cannot come
  logits(2, 1) = -inf;  // nor the target
  logits(3, 7) = inf;   // NaN: there is no such distribution
  logits(5, 2) = nan;   // ignored
  run(t.device, CrossEntropy<S>{.logits = logits, .targets = targets, .losses = losses, .dlogits = dlogits});
  CHECK(std::isnan(losses(0)));
  CHECK(std::isfinite(losses(1)));
  CHECK(dlogits(1, 4) == S(0));
  CHECK(losses(2) == inf);
  CHECK(dlogits(2, 1) == S(-1));
  CHECK(std::isnan(losses(3)));
  CHECK(std::isfinite(losses(4)));
  CHECK(losses(5) == S(0));
  CHECK(dlogits(5, 2) == S(0));
}

}  // namespace
}  // namespace midus
