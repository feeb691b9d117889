#include "midus/ops/rms_norm_cpu.hpp"

#include "reference/rms_norm.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct RmsNormCase {
  Index R, d;
  double scale = 1;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const auto x = t.random("x", Shape{R, d}, scale), y = t.output(Shape{R, d}),
               dy = t.random("dy", Shape{R, d});
    const auto weight = t.weight("w", Shape{d});
    const auto inverse_rms = t.output(Shape{R});
    run(t.device, RmsNorm<S>{.x = x, .weight = weight, .epsilon = 1e-5, .y = y, .inverse_rms = inverse_rms});
    t.keep("y", y, d);
    t.keep("inverse_rms", inverse_rms, d);
    const auto dx = t.random("dx start", Shape{R, d}), dx_frozen = t.random("dx start", Shape{R, d});
    const auto dweight = t.random("dw start", Shape{d});
    RmsNormBackward<S> backward{
        .x = x, .weight = weight, .inverse_rms = inverse_rms, .dy = dy, .dx = dx, .dweight = dweight};
    run(t.device, backward);
    t.keep("dx", dx, d);
    t.keep("dweight", dweight, R);
    backward.dx = dx_frozen;
    backward.dweight = {};
    run(t.device, backward);
    t.keep("dx, frozen", dx_frozen, d);
  }
};

TEST_CASE("rms_norm: the reference's backward is the derivative of its forward") {
  check_complex_step(RmsNormCase{3, 5}, {{"x", "dx", "dx start"}, {"w", "dweight", "dw start"}},
                     {{"y", "dy"}});
  check_complex_step(RmsNormCase{2, 1}, {{"x", "dx", "dx start"}, {"w", "dweight", "dw start"}},
                     {{"y", "dy"}});
}

TEMPLATE_LIST_TEST_CASE("rms_norm: forward and backward", "", Devices) {
  const auto shape =
      GENERATE(RmsNormCase{1, 1}, RmsNormCase{1, 128}, RmsNormCase{33, 7}, RmsNormCase{100, 65},
               RmsNormCase{31, 515}, RmsNormCase{5, 3000}, RmsNormCase{0, 8});
  INFO("R " << shape.R << " d " << shape.d);
  check_op<TestType>(shape);
}

TEMPLATE_LIST_TEST_CASE("rms_norm: where epsilon decides", "", Devices) {
  check_against_reference<TestType>(RmsNormCase{9, 37, 1e-4});
  check_against_reference<TestType>(RmsNormCase{9, 37, 0});
}

TEMPLATE_LIST_TEST_CASE("rms_norm: freezing the weight changes no bit of dx", "", Devices) {
  const Results results = results_of<TestType>(RmsNormCase{40, 70}, false, 2);
  CHECK(results.at("dx").same_bits(results.at("dx, frozen")));
}

TEMPLATE_LIST_TEST_CASE("rms_norm: NaN stays in its row", "", Devices) {
  using S = typename TestType::Scalar;
  Tensors<TestType> t(2);
  const auto x = t.random("x", Shape{Index{5}, Index{19}}), y = t.output(x.shape());
  x(2, 18) = std::numeric_limits<S>::quiet_NaN();
  run(t.device, RmsNorm<S>{.x = x,
                           .weight = t.weight("w", Shape{Index{19}}),
                           .epsilon = 1e-6,
                           .y = y,
                           .inverse_rms = t.output(Shape{Index{5}})});
  for (Index r = 0; r < 5; ++r)
    for (Index c = 0; c < 19; ++c) CHECK(std::isnan(y(r, c)) == (r == 2));
}

}  // namespace
}  // namespace midus
