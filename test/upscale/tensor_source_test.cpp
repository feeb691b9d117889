#include "midus/upscale/tensor_source.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"

using namespace midus;

namespace {

std::vector<double> values(const TensorSource& source, std::uint64_t seed, const char* name,
                           std::size_t count, Index first = 0) {
  std::vector<double> out(count);
  fill(source, seed, name, std::span(out), first);
  return out;
}

double mean_square(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return sum / static_cast<double>(x.size());
}

}  // namespace

TEST_CASE("TensorSource: zeros overwrite what was there") {
  std::vector<float> x{1, 2, 3};
  fill(TensorSource::zeros(), 1, "a", std::span(x));
  CHECK(x == std::vector<float>{0, 0, 0});
}

TEST_CASE("TensorSource: normal and uniform numbers have the scale that was asked for") {
  constexpr std::size_t count = 20000;  // the mean square is within 5 standard errors of its expectation
  const std::vector<double> normal = values(TensorSource::normal(0.25), 7, "keys", count);
  CHECK(std::fabs(mean_square(normal) / 0.0625 - 1) < 5 * std::sqrt(2.0 / count));
  const std::vector<double> uniform = values(TensorSource::uniform(0.5), 7, "keys", count);
  CHECK(std::fabs(mean_square(uniform) / (0.25 / 3) - 1) < 5 * std::sqrt(0.8 / count));
  double least = 1, most = -1;
  for (const double x : uniform) least = std::min(least, x), most = std::max(most, x);
  CHECK(least >= -0.5);
  CHECK(most < 0.5);
  CHECK(least < -0.49);
  CHECK(most > 0.49);
}

TEST_CASE("TensorSource: a value depends on seed, name and index alone") {
  const TensorSource source = TensorSource::normal(1);
  const std::vector<double> whole = values(source, 1, "a", 100);
  CHECK(whole == values(source, 1, "a", 100));
  const std::vector<double> tail = values(source, 1, "a", 40, 60);
  CHECK(std::vector<double>(whole.begin() + 60, whole.end()) == tail);
  CHECK(whole != values(source, 2, "a", 100));
  CHECK(whole != values(source, 1, "b", 100));
}

TEST_CASE("TensorSource: floats are the doubles, rounded once") {
  const TensorSource source = TensorSource::uniform(0.125);
  const std::vector<double> wide = values(source, 3, "a", 50);
  std::vector<float> narrow(50);
  fill(source, 3, "a", std::span(narrow));
  for (std::size_t i = 0; i < wide.size(); ++i) CHECK(narrow[i] == static_cast<float>(wide[i]));
}
