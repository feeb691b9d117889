#include "midus/ops/sum_of_squares_cpu.hpp"

#include <cmath>
#include <numeric>
#include <vector>

#include "reference/sum_of_squares.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct SumOfSquaresCase {
  Index n;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const auto x = t.random("x", Shape{n});
    const auto sums =
        t.template output_as<double>(Shape{(n + sum_of_squares_tile - 1) / sum_of_squares_tile});
    run(t.device, SumOfSquares<S>{.x = x, .sums = sums});
    t.keep("sums", sums, std::min(n, sum_of_squares_tile));
  }
};

TEMPLATE_LIST_TEST_CASE("sum_of_squares: tiles and their ends", "", Devices) {
  const Index n =
      GENERATE(1, 15, 33, sum_of_squares_tile, sum_of_squares_tile + 1, 3 * sum_of_squares_tile - 7, 0);
  INFO("n " << n);
  check_op<TestType>(SumOfSquaresCase{n});
}

TEMPLATE_LIST_TEST_CASE("sum_of_squares: one element that is not finite shows, and no square overflows", "",
                        Devices) {
  using S = typename TestType::Scalar;
  const Index n = 2 * sum_of_squares_tile,
              at = GENERATE(0, sum_of_squares_tile + 5, 2 * sum_of_squares_tile - 1);
  Tensors<TestType> t(2);
  const auto x = t.random("x", Shape{n});
  const auto sums = t.template output_as<double>(Shape{Index{2}});
  const auto sum_with = [&](S value) {
    x(at) = value;
    run(t.device, SumOfSquares<S>{.x = x, .sums = sums});
    CHECK(std::isfinite(sums(at < sum_of_squares_tile ? 1 : 0)));
    return sums(at < sum_of_squares_tile ? 0 : 1);
  };
  CHECK(std::isnan(sum_with(std::numeric_limits<S>::quiet_NaN())));
  CHECK(std::isinf(sum_with(-std::numeric_limits<S>::infinity())));
  CHECK(sum_with(S(1e30)) == Approx(1e60));
}

TEST_CASE("sum_of_squares: the norm of ten million small numbers", "[TR-12]") {
  Cpu<float> device(2);
  const std::vector<float> x(10'000'000, 1e-4F);
  std::vector<double> sums((x.size() + sum_of_squares_tile - 1) / sum_of_squares_tile);
  run(device, SumOfSquares<float>{.x = {x.data(), Shape{static_cast<Index>(x.size())}},
                                  .sums = {sums.data(), Shape{static_cast<Index>(sums.size())}}});
  CHECK(std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0)) == Approx(0.3162278).epsilon(1e-6));
}

}  // namespace
}  // namespace midus
