// What the value policies promise of one another.
#include <cmath>

#include "midus/midus.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace midus {
namespace {

using D = Cpu<double>;
constexpr int rows = 9, heads = 3, slots = 25, width = 4, reads = 4;
constexpr Shape<3> chosen{{rows, heads, reads}}, by_head{{rows, heads, width}};

View<double, 3> zeros(Tensors<D>& t, const Shape<3>& shape) {
  return t.make("zeros", shape, [](Index) { return 0.0; });
}

template <class Layer>
void give_parameters(Tensors<D>& t, Layer& layer) {
  layer.visit(layer, Path("memory"), [&](const Path& path, auto& parameter) {
    parameter.value = parameter.master = t.random(path.str(), parameter.shape);
    parameter.grad = t.make("zeros", parameter.shape, [](Index) { return 0.0; });
  });
}

template <int Rank>
void check_close(const View<double, Rank>& got, const View<double, Rank>& expected) {
  REQUIRE(got.shape() == expected.shape());
  double largest = 0, worst = 0;
  for (Index i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::fabs(expected.data()[i]));
    worst = std::max(worst, std::fabs(got.data()[i] - expected.data()[i]));
  }
  CHECK(largest > 0);
  CHECK(worst <= 1e-14 * largest);
}

}  // namespace

TEST_CASE("value policies: pool, then project equals project, then pool") {
  constexpr int rank = 7;
  Tensors<D> t(2);
  FactorizedValue<rank>::Layer<D, slots, heads, width> hive;
  give_parameters(t, hive);
  const auto slot = [](Index i) { return i * 7 % 11; };  // a few slots, read often
  const MemoryRead<D> read{t.integers(chosen, slot), t.random("weights", chosen)};
  const auto y = t.random("start", by_head), dy = t.random("dy", by_head);
  const auto dweights = t.output(chosen);
  decltype(hive)::Saved saved;
  hive.forward(t.device, read, saved, y);
  hive.backward(t.device, read, saved, dy, dweights);

  const auto expected_y = t.random("start", by_head), expected_dweights = zeros(t, chosen);
  const auto values = zeros(t, {{heads, slots, width}}), dvalues = zeros(t, values.shape());
  const auto dlatent = zeros(t, {{1, slots, rank}}), dproj = zeros(t, {{heads, rank, width}});
  const auto latent = hive.values.master;
  const auto proj = hive.value_proj.master;
  for (Index h = 0; h < heads; ++h)
    for (Index j = 0; j < slots; ++j)
      for (Index c = 0; c < width; ++c)
        for (Index i = 0; i < rank; ++i) values(h, j, c) += latent(j, i) * proj(h, i, c);
  for (Index r = 0; r < rows; ++r)
    for (Index h = 0; h < heads; ++h)
      for (Index k = 0; k < reads; ++k)
        for (Index c = 0, j = read.slots(r, h, k); c < width; ++c) {
          expected_y(r, h, c) += read.weights(r, h, k) * values(h, j, c);
          expected_dweights(r, h, k) += dy(r, h, c) * values(h, j, c);
          dvalues(h, j, c) += read.weights(r, h, k) * dy(r, h, c);
        }
  for (Index h = 0; h < heads; ++h)
    for (Index j = 0; j < slots; ++j)
      for (Index c = 0; c < width; ++c)
        for (Index i = 0; i < rank; ++i) {
          dlatent(0, j, i) += dvalues(h, j, c) * proj(h, i, c);
          dproj(h, i, c) += dvalues(h, j, c) * latent(j, i);
        }
  check_close(y, expected_y);
  check_close(dweights, expected_dweights);
  check_close(hive.values.grad, dlatent.reshape(latent.shape()));
  check_close(hive.value_proj.grad, dproj);
}

TEST_CASE("value policies: HIVE with the identity as projection is one bank that all heads share") {
  Tensors<D> t(2);
  HeadwiseMemoryLayer<D, heads * width, heads, 5, reads, FactorizedValue<width>> hive;
  HeadwiseMemoryLayer<D, heads * width, heads, 5, reads, DenseValue> dense;
  give_parameters(t, hive), give_parameters(t, dense);
  const auto proj = hive.value.value_proj.master;
  for (Index i = 0; i < proj.size(); ++i) proj.data()[i] = i / width % width == i % width;
  for (Index h = 0; h < heads; ++h)
    for (Index j = 0; j < slots; ++j)
      for (Index c = 0; c < width; ++c) dense.value.values.master(h, j, c) = hive.value.values.master(j, c);

  const auto query = t.random("query", by_head), dy = t.random("dy", by_head);
  const auto run_both = [&](auto& layer, const View<double, 3>& y, const View<double, 3>& dquery) {
    typename std::remove_reference_t<decltype(layer)>::Saved saved;
    layer.forward(t.device, query, saved, y);
    layer.backward(t.device, query, saved, dy, dquery);
  };
  const auto y = zeros(t, by_head), dense_y = zeros(t, by_head);
  const auto dquery = t.output(by_head), dense_dquery = t.output(by_head);
  run_both(hive, y, dquery), run_both(dense, dense_y, dense_dquery);

  const auto of_all_heads = zeros(t, {{1, slots, width}}), dproj = zeros(t, proj.shape());
  for (Index h = 0; h < heads; ++h)
    for (Index j = 0; j < slots; ++j)
      for (Index c = 0; c < width; ++c) of_all_heads(0, j, c) += dense.value.values.grad(h, j, c);
  for (Index r = 0; r < rows; ++r)
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < width; ++i)
        for (Index c = 0; c < width; ++c) dproj(h, i, c) += dense_y(r, h, i) * dy(r, h, c);
  check_close(y, dense_y);
  check_close(dquery, dense_dquery);
  check_close(hive.row_keys.grad, dense.row_keys.grad);
  check_close(hive.col_keys.grad, dense.col_keys.grad);
  check_close(hive.value.values.grad, of_all_heads.reshape(hive.value.values.shape));
  check_close(hive.value.value_proj.grad, dproj);
}

}  // namespace midus
