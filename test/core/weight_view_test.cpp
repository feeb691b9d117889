#include "midus/core/weight_view.hpp"

#include <vector>

#include "midus/core/parameter.hpp"
#include "support/catch.hpp"

namespace midus {
namespace {

TEST_CASE("weight_view: values in the compute type are read in place") {
  std::vector<double> data{1, 2, 3, 4, 5, 6}, scratch(6);
  const WeightView<double, 2> w = View<double, 2>(data.data(), Shape{2, 3});
  CHECK_FALSE(w.is_bfloat16());
  CHECK(w.size() == 6);
  CHECK(w.at(4) == 5);
  CHECK(w.widen(2, 3, scratch.data()) == data.data() + 2);
  CHECK(w.full()(1, 0) == 4);
  CHECK(w.reshape(Shape{6}).extent(0) == 6);
}

TEST_CASE("weight_view: bfloat16 is widened") {
  std::vector<bfloat16> data;
  for (const float x : {1.0f, -0.5f, 3.0f, 1024.0f}) data.push_back(bfloat16::from(x));
  const WeightView<float, 2> w = View<const bfloat16, 2>(data.data(), Shape{2, 2});
  std::vector<float> scratch(2);
  CHECK(w.is_bfloat16());
  CHECK(w.at(1) == -0.5f);
  const float* const wide = w.widen(2, 2, scratch.data());
  CHECK(wide == scratch.data());
  CHECK(scratch == std::vector<float>{3, 1024});
  CHECK(w.reshape(Shape{4}).at(3) == 1024);
  CHECK(w.reshape(Shape{4}).is_bfloat16());
}

TEST_CASE("weight_view: empty") {
  const WeightView<float, 1> w;
  CHECK(w.empty());
  CHECK(w.size() == 0);
}

}  // namespace
}  // namespace midus
