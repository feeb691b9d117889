#include "midus/core/view.hpp"

#include <numeric>
#include <vector>

#include "support/catch.hpp"

namespace midus {
namespace {

TEST_CASE("view: row-major elements, rows and slices") {
  std::vector<float> data(24);
  std::iota(data.begin(), data.end(), 0.0f);
  const View<float, 3> x(data.data(), Shape{2, 3, 4});
  CHECK(x.size() == 24);
  CHECK(x(0, 0, 0) == 0);
  CHECK(x(1, 2, 3) == 23);
  CHECK(x.row(1) == data.data() + 12);
  CHECK(x.row(1, 2) == data.data() + 20);
  CHECK(x.row(1, 2, 3) == data.data() + 23);
  const auto part = x.slice(1, 1);
  CHECK(part.shape() == Shape{1, 3, 4});
  CHECK(part(0, 0, 0) == 12);
  CHECK(x.slice(2, 0).size() == 0);
  x(0, 1, 2) = -5;
  CHECK(data[6] == -5);
}

TEST_CASE("view: other extents of the same elements") {
  std::vector<double> data(6);
  const View<double, 2> x(data.data(), Shape{2, 3});
  CHECK(x.reshape(Shape{3, 2}).row(1) == data.data() + 2);
  CHECK(x.flat().shape() == Shape{6});
  CHECK(x.reshape(Shape{1, 2, 3}).row(0, 1) == data.data() + 3);
}

TEST_CASE("view: empty is not the same as no elements") {
  int value = 0;
  const View<int, 2> none(&value, Shape{0, 3}), frozen;
  CHECK(frozen.empty());
  CHECK(frozen.size() == 0);
  CHECK_FALSE(none.empty());
  CHECK(none.size() == 0);
}

TEST_CASE("view: what may write may read, and not the other way round") {
  STATIC_REQUIRE(std::is_convertible_v<View<float, 2>, View<const float, 2>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<View<const float, 2>, View<float, 2>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<View<float, 2>, View<const double, 2>>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<View<float, 4>>);
}

TEST_CASE("shape: size, comparison and text") {
  STATIC_REQUIRE(Shape{Index{1} << 20, 4096, 3}.size() == Index{3} << 32);
  CHECK(to_string(Shape{2, 3, 5}) == "[2, 3, 5]");
  CHECK(to_string(Shape{7}) == "[7]");
  CHECK_FALSE(Shape{2, 3} == Shape{3, 2});
}

}  // namespace
}  // namespace midus
