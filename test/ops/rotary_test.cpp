#include "midus/ops/rotary_cpu.hpp"

#include "reference/rotary.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct RotaryCase {
  Index R, H, D;

  template <class Device>
  void operator()(Tensors<Device>& t) const {
    using S = typename Device::Scalar;
    constexpr Index P = 13;
    const auto positions = t.integers(Shape{R}, [](Index r) { return (r * 5 + 2) % P; });
    const auto cos = t.make("cos", Shape{P, D / 2}, [](Index i) { return std::cos(static_cast<double>(i)); });
    const auto sin = t.make("sin", Shape{P, D / 2}, [](Index i) { return std::sin(static_cast<double>(i)); });
    const auto y = t.random("x", Shape{R, H, D}), dx = t.random("dy", Shape{R, H, D});
    run(t.device, Rotary<S>{.x = y, .positions = positions, .cos = cos, .sin = sin});
    t.keep("y", y, 2);
    run(t.device, Rotary<S>{.x = dx, .positions = positions, .cos = cos, .sin = sin, .inverse = true});
    t.keep("dx", dx, 2);
  }
};

TEST_CASE("rotary: the reference's inverse is the derivative of its forward") {
  check_complex_step(RotaryCase{3, 2, 6}, {{"x", "dx", ""}}, {{"y", "dy"}});
}

TEMPLATE_LIST_TEST_CASE("rotary: forward and inverse", "", Devices) {
  const auto shape = GENERATE(RotaryCase{1, 1, 2}, RotaryCase{33, 3, 32}, RotaryCase{70, 1, 10},
                              RotaryCase{5, 4, 66}, RotaryCase{0, 2, 4});
  INFO("R " << shape.R << " H " << shape.H << " D " << shape.D);
  check_op<TestType>(shape);
}

// A quarter turn takes (a, b) to (-b, a): the pairs are the halves, not neighbours.
TEMPLATE_LIST_TEST_CASE("rotary: a quarter turn", "", Devices) {
  using S = typename TestType::Scalar;
  Tensors<TestType> t(1);
  const auto x =
      t.make("x", Shape{Index{1}, Index{1}, Index{4}}, [](Index i) { return static_cast<double>(i + 1); });
  const auto zero = t.make("cos", Shape{Index{1}, Index{2}}, [](Index) { return 0.0; });
  const auto one = t.make("sin", Shape{Index{1}, Index{2}}, [](Index) { return 1.0; });
  const auto positions = t.integers(Shape{Index{1}}, [](Index) { return 0; });
  run(t.device, Rotary<S>{.x = x, .positions = positions, .cos = zero, .sin = one});
  const double expected[] = {-3, -4, 1, 2};
  for (Index i = 0; i < 4; ++i) CHECK(static_cast<double>(x(0, 0, i)) == expected[i]);
}

}  // namespace
}  // namespace midus
