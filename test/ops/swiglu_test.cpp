#include "midus/ops/swiglu_cpu.hpp"

#include "reference/swiglu.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct SwigluCase {
  Index R, f;
  double scale = 1;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const auto gate = t.random("gate", Shape{R, f}, scale), up = t.random("up", Shape{R, f});
    const auto y = t.output(Shape{R, f}), dgate = t.output(Shape{R, f}), dup = t.output(Shape{R, f});
    const auto dy = t.random("dy", Shape{R, f});
    run(t.device, Swiglu<S>{.gate = gate, .up = up, .y = y});
    t.keep("y", y);
    run(t.device, SwigluBackward<S>{.gate = gate, .up = up, .dy = dy, .dgate = dgate, .dup = dup});
    t.keep("dgate", dgate);
    t.keep("dup", dup);
    run(t.device, SwigluBackward<S>{.gate = gate, .up = up, .dy = dy, .dgate = dy, .dup = dup});
    t.keep("dgate in place of dy", dy);
    t.keep("dup beside it", dup);
  }
};

TEST_CASE("swiglu: the reference's backward is the derivative of its forward") {
  check_complex_step(SwigluCase{3, 5}, {{"gate", "dgate", ""}, {"up", "dup", ""}}, {{"y", "dy"}});
  check_complex_step(SwigluCase{3, 5, 20},
                     {{"gate", "dgate in place of dy", ""}, {"up", "dup beside it", ""}}, {{"y", "dy"}});
}

TEMPLATE_LIST_TEST_CASE("swiglu: forward and backward", "", Devices) {
  const auto shape = GENERATE(SwigluCase{1, 1}, SwigluCase{1, 31}, SwigluCase{40, 205}, SwigluCase{3, 8193},
                              SwigluCase{9, 30, 10}, SwigluCase{9, 30, 1000}, SwigluCase{0, 7});
  INFO("R " << shape.R << " f " << shape.f << " scale " << shape.scale);
  check_op<TestType>(shape);
}

TEMPLATE_LIST_TEST_CASE("swiglu: NaN and infinity", "", Devices) {
  using S = typename TestType::Scalar;
  constexpr S inf = std::numeric_limits<S>::infinity(), nan = std::numeric_limits<S>::quiet_NaN();
  Tensors<TestType> t(1);
  const auto gate = t.make("gate", Shape{Index{1}, Index{4}}, [](Index) { return 1.0; });
  const auto up = t.make("up", gate.shape(), [](Index) { return 1.0; }), y = t.output(gate.shape());
  gate(0, 0) = nan;
  gate(0, 1) = inf;
  gate(0, 2) = -1000;
  run(t.device, Swiglu<S>{.gate = gate, .up = up, .y = y});
  CHECK(std::isnan(y(0, 0)));
  CHECK(y(0, 1) == inf);
  CHECK(std::fabs(static_cast<double>(y(0, 2))) < 1e-30);
  CHECK(static_cast<double>(y(0, 3)) == Approx(1 / (1 + std::exp(-1.0))));
}

}  // namespace
}  // namespace midus
