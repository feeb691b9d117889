#include "midus/device/peak.hpp"

#include <cmath>

#include "support/catch.hpp"

using namespace midus;

TEMPLATE_TEST_CASE("peak: every chain adds the product with one sign, then with the other", "", float,
                   double) {
  using S = TestType;
  constexpr auto lanes = static_cast<S>(simd::width<S>);
  constexpr S chains = 66;  // 0 + 1 + ... + 11
  CHECK(multiply_adds<S>(0, S(0.5), S(0.25)) == chains * lanes);
  CHECK(multiply_adds<S>(1, S(0.5), S(0.25)) == (chains - 12 * S(0.125)) * lanes);
  CHECK(multiply_adds<S>(2, S(0.5), S(0.25)) == chains * lanes);
}

TEST_CASE("peak: a device reaches something on every number of threads") {
  for (const int threads : {1, 3}) {
    Cpu<float> device(threads);
    const double peak = measure_peak(device);
    CHECK(std::isfinite(peak));
    CHECK(peak > 0);
  }
}
