#include "midus/ops/adamw_cpu.hpp"

#include "reference/adamw.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct AdamwCase {
  Index n, step;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const auto value = t.random("value", Shape{n}), grad = t.random("grad", Shape{n});
    const auto m = t.random("m", Shape{n}, 0.3);
    const auto v =
        t.make("v", Shape{n}, [](Index i) { return i % 7 == 0 ? 0.0 : 0.01 * static_cast<double>(i % 91); });
    for (Index s = step; s < step + 3; ++s)
      run(t.device, AdamwStep<S>{.value = value,
                                 .grad = grad,
                                 .exp_avg = m,
                                 .exp_avg_sq = v,
                                 .rate = 0.01,
                                 .beta1 = 0.9,
                                 .beta2 = 0.99,
                                 .epsilon = 1e-8,
                                 .decay = 0.1,
                                 .grad_scale = 0.7,
                                 .step = s});
    t.keep("value", value);
    t.keep("m", m);
    t.keep("v", v);
  }
};

TEMPLATE_LIST_TEST_CASE("adamw: three steps", "", Devices) {
  const auto shape = GENERATE(AdamwCase{1, 1}, AdamwCase{37, 1}, AdamwCase{40001, 50}, AdamwCase{0, 1});
  INFO("n " << shape.n << " step " << shape.step);
  check_op<TestType>(shape);
}

// torch 2: p = [1, -2], grad = [0.5, -0.25], AdamW(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01).
// The first step moves by the rate along the gradient's sign, after the decay.
TEMPLATE_LIST_TEST_CASE("adamw: the first step from zero moments", "", Devices) {
  using S = typename TestType::Scalar;
  Tensors<TestType> t(1);
  const auto value = t.make("value", Shape{Index{2}}, [](Index i) { return i == 0 ? 1.0 : -2.0; });
  const auto grad = t.make("grad", Shape{Index{2}}, [](Index i) { return i == 0 ? 0.5 : -0.25; });
  const auto m = t.random("m", Shape{Index{2}}, 0), v = t.random("v", Shape{Index{2}}, 0);
  run(t.device, AdamwStep<S>{value, grad, m, v, 0.1, 0.9, 0.999, 1e-8, 0.01, 1, 1});
  CHECK(static_cast<double>(value(0)) == Approx(1 * 0.999 - 0.1).epsilon(1e-6));
  CHECK(static_cast<double>(value(1)) == Approx(-2 * 0.999 + 0.1).epsilon(1e-6));
  CHECK(static_cast<double>(m(0)) == Approx(0.05));
  CHECK(static_cast<double>(v(1)) == Approx(0.001 * 0.0625));
}

}  // namespace
}  // namespace midus
