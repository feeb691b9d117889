#include "midus/device/simd.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace midus {
namespace {

template <class S>
S exp_of(S x) {
  S out[simd::width<S>];
  simd::store(out, simd::exp<S>(simd::broadcast(x)));
  return out[0];
}

TEMPLATE_TEST_CASE("simd: exp is accurate to a few units, 0 near the smallest numbers, NaN for NaN", "",
                   float, double) {
  using S = TestType;
  constexpr S inf = std::numeric_limits<S>::infinity();
  const double low = sizeof(S) == 4 ? -86.5 : -708, high = sizeof(S) == 4 ? 88 : 709;
  double worst = 0;
  for (int i = 0; i <= 20000; ++i) {
    const S x = static_cast<S>(low + (high - low) * i / 20000);
    const long double exact = std::exp(static_cast<long double>(x));
    worst = std::max(worst,
                     std::fabs(static_cast<double>((static_cast<long double>(exp_of(x)) - exact) / exact)));
  }
  INFO("worst relative error in units: " << worst / static_cast<double>(std::numeric_limits<S>::epsilon()));
  CHECK(worst <= 2 * static_cast<double>(std::numeric_limits<S>::epsilon()));
  CHECK(exp_of(S(0)) == S(1));
  CHECK(exp_of(-inf) == S(0));
  CHECK(exp_of(static_cast<S>(low - 1)) == S(0));
  CHECK(exp_of(inf) == inf);
  CHECK(exp_of(S(1000)) == inf);
  CHECK(std::isnan(exp_of(std::numeric_limits<S>::quiet_NaN())));
}

// Eigen 3.4's own root is NaN for infinity and 0 for subnormal numbers in a register of SSE, AVX or AVX-512.
TEMPLATE_TEST_CASE("simd: roots are accurate to a unit or two, and right at every edge in every lane", "",
                   float, double) {
  using S = TestType;
  using Limits = std::numeric_limits<S>;
  const auto root_of = [](S x, Index lane) {
    S in[simd::width<S>], out[simd::width<S>];
    for (Index i = 0; i < simd::width<S>; ++i) in[i] = S(i + 1);
    in[lane] = x;
    simd::store(out, simd::square_root<S>(simd::load(in)));
    return out[lane];
  };
  for (Index lane = 0; lane < simd::width<S>; ++lane) {
    INFO("lane " << lane);
    CHECK(root_of(Limits::infinity(), lane) == Limits::infinity());
    CHECK(root_of(S(0), lane) == S(0));
    for (const S x : {S(-1), -Limits::denorm_min(), -Limits::infinity(), Limits::quiet_NaN()})
      CHECK(std::isnan(root_of(x, lane)));
    for (const S x : {Limits::denorm_min(), Limits::min() / 3, Limits::min(), Limits::min() * 3, S(1e-30),
                      S(0.3), S(1), S(2), S(1e30), Limits::max() / 2, Limits::max()})
      CHECK(root_of(x, lane) ==
            Approx(std::sqrt(x)).epsilon(2.5 * static_cast<double>(Limits::epsilon())).margin(0));
  }
}

TEMPLATE_TEST_CASE("simd: the odd end gets the bits of whole packets, and nothing beyond is touched", "",
                   float, double) {
  using S = TestType;
  std::vector<S> x(100), whole(100), part(100);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<S>(0.37 * static_cast<double>(i) - 20);
  const auto sigmoids = [&](S* out, Index first, Index count) {
    simd::for_packets<S>(count, [&](auto at) { at.store(out, simd::sigmoid<S>(at.load(x.data() + first))); });
  };
  sigmoids(whole.data(), 0, 96);
  for (Index count = 0; count < 30; ++count)
    for (Index first = 0; first < 9; ++first) {
      std::fill(part.begin(), part.end(), S(-1));
      sigmoids(part.data(), first, count);
      for (Index i = 0; i < count; ++i)
        REQUIRE(part[static_cast<std::size_t>(i)] == whole[static_cast<std::size_t>(first + i)]);
      REQUIRE(part[static_cast<std::size_t>(count)] == S(-1));
    }
}

TEMPLATE_TEST_CASE("simd: sums and maxima of any length", "", float, double) {
  using S = TestType;
  std::vector<S> x(200);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<S>((i * 37) % 101) - S(150);
  for (Index count = 1; count < 200; ++count) {
    S sum = 0, largest = x[0];
    for (Index i = 0; i < count; ++i) {
      sum += x[static_cast<std::size_t>(i)];
      largest = std::max(largest, x[static_cast<std::size_t>(i)]);
    }
    REQUIRE(simd::sum_over<S>(count, [&](auto at) { return at.load(x.data()); }) ==
            sum);  // small whole numbers
    REQUIRE(simd::largest_in(x.data(), count) == largest);
  }
  CHECK(simd::largest_in(x.data(), 0) == -std::numeric_limits<S>::infinity());
}

}  // namespace
}  // namespace midus
