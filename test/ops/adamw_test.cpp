#include "midus/ops/adamw_cpu.hpp"

#include <limits>
#include <string_view>
#include <utility>
#include <vector>

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
    const auto largest =
        t.device.template allocate_as<double>(Shape{(n + adamw_tile - 1) / adamw_tile, Index{3}});
    for (Index s = step; s < step + 3; ++s) {
      const AdamwStep<S> op{.value = value,
                            .grad = grad,
                            .exp_avg = m,
                            .exp_avg_sq = v,
                            .rate = 0.01,
                            .beta1 = 0.9,
                            .beta2 = 0.99,
                            .epsilon = 1e-8,
                            .decay = 0.1,
                            .grad_scale = 0.7,
                            .step = s};
      run(t.device, AdamwLargest<S>{.step = op, .largest = largest});
      run(t.device, op);
    }
    t.keep("largest", largest);
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

// What a step would leave is what it leaves; a number that would not be finite is seen wherever it is.
TEMPLATE_LIST_TEST_CASE("adamw: what it would leave is known before it is taken", "", Devices) {
  using S = typename TestType::Scalar;
  const double most = static_cast<double>(std::numeric_limits<S>::max());
  const Index n = 2 * adamw_tile + 21;
  // Whether what is left is finite where element `at` of one tensor is `number`.
  const auto stays_finite = [&](std::string_view changed, Index at, double number, double rate = 0.01) {
    Tensors<TestType> t(2);
    const auto made = [&](const char* name, double usual) {
      const View<S, 1> x = t.make(name, Shape{n}, [=](Index) { return usual; });
      if (changed == name) x(at) = static_cast<S>(number);
      return x;
    };
    const AdamwStep<S> op{.value = made("value", -0.5),
                          .grad = made("grad", 0.25),
                          .exp_avg = made("m", 0.125),
                          .exp_avg_sq = made("v", 0.5),
                          .rate = rate,
                          .beta1 = 0.9,
                          .beta2 = 0.95,
                          .epsilon = 1e-8,
                          .decay = 0,
                          .grad_scale = 1,
                          .step = 1};
    const auto largest = t.device.template allocate_as<double>(Shape{Index{3}, Index{3}});
    run(t.device, AdamwLargest<S>{.step = op, .largest = largest});
    CHECK(op.value((at + 1) % n) == S(-0.5));  // nothing was changed
    CHECK(op.exp_avg((at + 1) % n) == S(0.125));
    CHECK(op.exp_avg_sq((at + 1) % n) == S(0.5));
    const std::vector<double> before(largest.data(), largest.data() + 9);
    run(t.device, op);
    double found[3] = {0, 0, 0};
    bool finite = true;
    for (Index i = at / adamw_tile * adamw_tile; i < std::min(n, (at / adamw_tile + 1) * adamw_tile); ++i)
      for (const auto& [part, view] : {std::pair{0, op.value}, {1, op.exp_avg}, {2, op.exp_avg_sq}}) {
        const double size = std::fabs(static_cast<double>(view(i)));
        finite = finite && std::isfinite(size);
        found[part] = std::isnan(size) ? size : std::max(found[part], size);
      }
    const double* const tile = before.data() + 3 * (at / adamw_tile);
    bool seen = true;
    for (int part = 0; part < 3; ++part) {
      seen = seen && std::isfinite(tile[part]);
      if (std::isfinite(found[part]))
        CHECK(tile[part] == found[part]);
      else
        CHECK(tile[part] == std::numeric_limits<double>::infinity());
    }
    CHECK(seen == finite);
    return finite;
  };
  for (const Index at :
       {Index{0}, Index{7}, adamw_tile - 1, 2 * adamw_tile + 20}) {  // whole packets and the end
    CHECK(stays_finite("grad", at, 1));
    CHECK(stays_finite("grad", at, std::sqrt(most) * 0.5));
    CHECK_FALSE(stays_finite("grad", at, std::sqrt(most) * 1.5));  // g² overflows
    CHECK_FALSE(stays_finite("value", at, std::numeric_limits<double>::quiet_NaN()));
    CHECK_FALSE(stays_finite("value", at, -std::numeric_limits<double>::infinity()));
    CHECK_FALSE(stays_finite("m", at, most * 0.5, 1));
    CHECK_FALSE(stays_finite("v", at, -1));
    CHECK_FALSE(stays_finite("value", at, 1, std::numeric_limits<double>::infinity()));
  }
}

}  // namespace
}  // namespace midus
