// Data for the tests of the product-key look-up.
#pragma once

#include <complex>
#include <cstring>
#include <limits>
#include <vector>

#include "midus/core/random.hpp"
#include "midus/ops/product_key_top_k_cpu.hpp"
#include "reference/product_key_top_k.hpp"

namespace midus {

struct ProductKeyShape {
  Index R, H, D, n, k;
};

/// All tensors of one look-up and its backward. Outputs start as NaN (slots as no index), gradients of keys
/// as random numbers.
template <class S>
struct ProductKeyProblem {
  ProductKeyShape shape;
  std::vector<S> query, row_keys, col_keys, weights, dweights, dquery, drow_keys, dcol_keys;
  std::vector<std::int32_t> slots;

  template <class Draw>  // draw(random, index) -> double
  ProductKeyProblem(ProductKeyShape s, std::uint64_t seed, Draw&& draw) : shape(s) {
    const auto make = [&](std::vector<S>& x, Index size, const char* name) {
      const Random random(seed, name);
      x.resize(static_cast<std::size_t>(size));
      for (Index i = 0; i < size; ++i) x[static_cast<std::size_t>(i)] = S(static_cast<S>(draw(random, i)));
    };
    make(query, s.R * s.H * s.D, "query");
    make(row_keys, s.H * s.n * (s.D / 2), "row");
    make(col_keys, s.H * s.n * (s.D / 2), "col");
    make(dweights, s.R * s.H * s.k, "dweights");
    make(drow_keys, s.H * s.n * (s.D / 2), "drow");
    make(dcol_keys, s.H * s.n * (s.D / 2), "dcol");
    weights.assign(dweights.size(), poison<S>());
    slots.assign(dweights.size(), poison<std::int32_t>());
    dquery.assign(query.size(), poison<S>());
  }

  /// The same numbers on another scalar.
  template <class T>
  explicit ProductKeyProblem(const ProductKeyProblem<T>& other) : shape(other.shape), slots(other.slots) {
    const auto convert = [](const std::vector<T>& from, std::vector<S>& to) {
      for (const T& x : from) to.push_back(S(static_cast<S>(x)));
    };
    convert(other.query, query);
    convert(other.row_keys, row_keys);
    convert(other.col_keys, col_keys);
    convert(other.weights, weights);
    convert(other.dweights, dweights);
    convert(other.dquery, dquery);
    convert(other.drow_keys, drow_keys);
    convert(other.dcol_keys, dcol_keys);
  }

  Shape<3> queries() const { return {{shape.R, shape.H, shape.D}}; }
  Shape<3> keys() const { return {{shape.H, shape.n, shape.D / 2}}; }
  Shape<3> chosen() const { return {{shape.R, shape.H, shape.k}}; }

  ProductKeyTopK<S> forward() {
    return {.query = View<const S, 3>(query.data(), queries()),
            .row_keys = View<const S, 3>(row_keys.data(), keys()),
            .col_keys = View<const S, 3>(col_keys.data(), keys()),
            .slots = {slots.data(), chosen()},
            .weights = {weights.data(), chosen()}};
  }
  ProductKeyTopKBackward<S> backward() {
    return {.query = View<const S, 3>(query.data(), queries()),
            .row_keys = View<const S, 3>(row_keys.data(), keys()),
            .col_keys = View<const S, 3>(col_keys.data(), keys()),
            .slots = View<const std::int32_t, 3>(slots.data(), chosen()),
            .weights = View<const S, 3>(weights.data(), chosen()),
            .dweights = View<const S, 3>(dweights.data(), chosen()),
            .dquery = {dquery.data(), queries()},
            .drow_keys = {drow_keys.data(), keys()},
            .dcol_keys = {dcol_keys.data(), keys()}};
  }
};

/// Multiples of 1/4 between -2 and 2: sums of products of these are exact, and often equal.
inline double coarse(const Random& random, Index i) {
  return static_cast<double>(random.below(i, 17)) / 4 - 2;
}
inline double normal(const Random& random, Index i) { return random.normal(i); }

/// Odd halves, n with no factor of 8, k = 1, k = n, n = 1, several tiles of rows.
inline const std::vector<ProductKeyShape> product_key_shapes{
    {1, 1, 2, 1, 1},     {3, 2, 6, 9, 5},     {5, 3, 10, 7, 7},    {67, 2, 14, 33, 4},  {2, 4, 8, 4, 1},
    {40, 1, 22, 50, 16}, {9, 2, 64, 128, 16}, {33, 2, 16, 64, 8},  {4, 1, 32, 71, 32},  {6, 2, 4, 20, 20},
    {8, 1, 26, 100, 64}, {1, 5, 8, 16, 3},    {64, 1, 12, 17, 11}, {3, 1, 128, 256, 16}};

template <class S>
bool same_bits(const std::vector<S>& a, const std::vector<S>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0;
}

/// The largest |a - b| / (1 + |b|); infinite where one is NaN and the other is not.
template <class A, class B>
double difference(const std::vector<A>& a, const std::vector<B>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = real_part(a[i]), y = real_part(b[i]);
    if (std::isnan(x) && std::isnan(y)) continue;
    const double d = std::abs(x - y) / (1 + std::abs(y));
    largest = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(largest, d);
  }
  return largest;
}

}  // namespace midus
