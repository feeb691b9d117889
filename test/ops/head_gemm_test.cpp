#include "midus/ops/head_gemm_cpu.hpp"

#include "reference/head_gemm.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct HeadGemmCase {
  Index R, H, K, N;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const auto x = t.random("x", Shape{R, H, K}), dy = t.random("dy", Shape{R, H, N});
    const auto w = t.weight("w", Shape{H, K, N});
    const auto y = t.output(Shape{R, H, N}), y_start = t.random("y start", Shape{R, H, N});
    run(t.device, HeadGemm<S>{.x = x, .w = w, .y = y});
    t.keep("y", y, K);
    run(t.device, HeadGemm<S>{.x = x, .w = w, .y = y_start, .accumulate = true});
    t.keep("y added", y_start, K);
    const auto dx = t.output(Shape{R, H, K});
    run(t.device, HeadGemmBackwardInput<S>{.dy = dy, .w = w, .dx = dx});
    t.keep("dx", dx, N);
    const auto dw = t.random("dw start", Shape{H, K, N});
    run(t.device, HeadGemmBackwardWeight<S>{.x = x, .dy = dy, .dw = dw});
    t.keep("dw", dw, R);
  }
};

TEST_CASE("head_gemm: the reference's backward is the derivative of its forward") {
  check_complex_step(HeadGemmCase{3, 2, 4, 5}, {{"x", "dx", ""}, {"w", "dw", "dw start"}}, {{"y", "dy"}});
  check_complex_step(HeadGemmCase{2, 3, 2, 1}, {{"x", "dx", ""}, {"w", "dw", "dw start"}},
                     {{"y added", "dy"}});
}

TEMPLATE_LIST_TEST_CASE("head_gemm: forward and backward", "", Devices) {
  const auto shape =
      GENERATE(HeadGemmCase{1, 1, 1, 1}, HeadGemmCase{1, 4, 64, 32}, HeadGemmCase{7, 3, 5, 17},
               HeadGemmCase{241, 2, 33, 16}, HeadGemmCase{600, 3, 100, 7}, HeadGemmCase{5, 1, 300, 90});
  INFO("R " << shape.R << " H " << shape.H << " K " << shape.K << " N " << shape.N);
  check_op<TestType>(shape);
}

TEMPLATE_LIST_TEST_CASE("head_gemm: no rows", "", Devices) { check_op<TestType>(HeadGemmCase{0, 2, 5, 6}); }

}  // namespace
}  // namespace midus
