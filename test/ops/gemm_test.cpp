#include "midus/ops/gemm_cpu.hpp"

#include "reference/gemm.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct GemmCase {
  Index R, K, N;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const auto x = t.random("x", Shape{R, K}), dy = t.random("dy", Shape{R, N});
    const auto plus = t.random("plus", Shape{R, N});
    const auto w = t.weight("w", Shape{N, K});
    const auto y = t.output(Shape{R, N});
    run(t.device, Gemm<S>{.x = x, .w = w, .y = y});
    t.keep("y", y, K);
    run(t.device, Gemm<S>{.x = x, .w = w, .y = y, .plus = plus});
    t.keep("y with plus", y, K);
    run(t.device, Gemm<S>{.x = x, .w = w, .y = plus, .plus = plus});
    t.keep("y in place of plus", plus, K);

    const auto dx = t.output(Shape{R, K}), dx_start = t.random("dx start", Shape{R, K});
    run(t.device, GemmBackwardInput<S>{.dy = dy, .w = w, .dx = dx});
    t.keep("dx", dx, N);
    run(t.device, GemmBackwardInput<S>{.dy = dy, .w = w, .dx = dx_start, .accumulate = true});
    t.keep("dx added", dx_start, N);
    const auto dw = t.random("dw start", Shape{N, K});
    run(t.device, GemmBackwardWeight<S>{.dy = dy, .x = x, .dw = dw});
    t.keep("dw", dw, R);
  }
};

TEST_CASE("gemm: the reference's backward is the derivative of its forward") {
  check_complex_step(GemmCase{3, 4, 5},
                     {{"x", "dx", ""}, {"x", "dx added", "dx start"}, {"w", "dw", "dw start"}},
                     {{"y", "dy"}});
}

// Around the edges of register blocks, panels, stretches of the sum, tiles and packed parts.
TEMPLATE_LIST_TEST_CASE("gemm: forward and backward", "", Devices) {
  const auto shape =
      GENERATE(GemmCase{1, 1, 1}, GemmCase{1, 7, 130}, GemmCase{2, 300, 3}, GemmCase{7, 33, 17},
               GemmCase{121, 40, 65}, GemmCase{130, 520, 70}, GemmCase{6, 64, 2049}, GemmCase{250, 2100, 9},
               GemmCase{125, 10, 4200}, GemmCase{1030, 5, 7}, GemmCase{3200, 12, 20});
  INFO("R " << shape.R << " K " << shape.K << " N " << shape.N);
  check_op<TestType>(shape);
}

// Around the edges of packets, streams and tiles, and up to where packing begins.
TEMPLATE_LIST_TEST_CASE("gemm: few rows", "", Devices) {
  const auto R = GENERATE(range(Index{1}, few_rows + 2));
  for (const auto& [K, N] : {std::pair<Index, Index>{1, 3},
                             {5, 4},
                             {16, 33},
                             {67, 70},
                             {127, 9},
                             {128, 9},
                             {1031, 5},
                             {2049, 6},
                             {40, 131}}) {
    INFO("R " << R << " K " << K << " N " << N);
    check_op<TestType>(GemmCase{R, K, N});
  }
}

TEMPLATE_LIST_TEST_CASE("gemm: no rows, no columns, a sum of nothing", "", Devices) {
  check_op<TestType>(GENERATE(GemmCase{0, 5, 6}, GemmCase{4, 5, 0}, GemmCase{4, 0, 5}));
}

// A batch may be split: not promised, but kept among a few rows, and among many.
TEMPLATE_LIST_TEST_CASE("gemm: a row does not depend on the rows beside it", "", Devices) {
  using S = typename TestType::Scalar;
  if constexpr (uses_blas<S>) return;  // other libraries take other ways for other sizes
  constexpr Index K = 410, N = 150;
  const auto [R, rows] = GENERATE(std::pair{few_rows, Index{2}}, std::pair{few_rows, Index{3}},
                                  std::pair{Index{300}, few_rows + 1});
  Tensors<TestType> t(2);
  const auto x = t.random("x", Shape{R, K}), y = t.output(Shape{R, N}), part = t.output(Shape{rows, N});
  const auto w = t.weight("w", Shape{N, K});
  run(t.device, Gemm<S>{.x = x, .w = w, .y = y});
  for (const Index r : {Index{0}, Index{1}, Index{2}, Index{5}, R / 2, R - rows}) {
    run(t.device, Gemm<S>{.x = x.slice(r, rows), .w = w, .y = part});
    INFO("row " << r << " of " << R);
    CHECK(std::memcmp(part.data(), y.row(r), static_cast<std::size_t>(rows * N) * sizeof(S)) == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("gemm: NaN and infinity stay in their row", "", Devices) {
  using S = typename TestType::Scalar;
  constexpr S nan = std::numeric_limits<S>::quiet_NaN(), infinity = std::numeric_limits<S>::infinity();
  constexpr Index K = 30, N = 40;
  const Index R = GENERATE(Index{few_rows}, Index{20});
  Tensors<TestType> t(2);
  const auto x = t.random("x", Shape{R, K}), w = t.random("w", Shape{N, K}), y = t.output(Shape{R, N});
  x(3, 29) = nan;
  x(7, 0) = infinity;
  run(t.device, Gemm<S>{.x = x, .w = w, .y = y});
  for (Index r = 0; r < R; ++r)
    for (Index n = 0; n < N; ++n) {
      CHECK(std::isnan(y(r, n)) == (r == 3));
      CHECK(std::isinf(y(r, n)) == (r == 7));
    }
  w(39, 28) = nan;  // a weight's stays in its column
  run(t.device, Gemm<S>{.x = x, .w = w, .y = y});
  for (Index r = 0; r < R; ++r)
    for (Index n = 0; n < N; ++n) CHECK(std::isnan(y(r, n)) == (r == 3 || n == 39));
}

}  // namespace
}  // namespace midus
