#include <algorithm>

#include "ops/product_key_problem.hpp"
#include "support/catch.hpp"

using namespace midus;

namespace {

/// Σ dweights · weights: what the backward differentiates.
template <class S>
S loss(Reference<S>& device, ProductKeyProblem<S>& problem) {
  run(device, problem.forward());
  S sum(0);
  for (std::size_t i = 0; i < problem.weights.size(); ++i) sum += problem.dweights[i] * problem.weights[i];
  return sum;
}

}  // namespace

TEST_CASE("product_key_top_k: gradients by complex step") {
  using Complex = std::complex<double>;
  constexpr double step = 1e-40;
  Reference<Complex> reference;
  Cpu<double> device(2);
  for (const ProductKeyShape& shape : {ProductKeyShape{3, 2, 6, 9, 5}, {2, 1, 10, 4, 4}, {5, 3, 4, 6, 1}}) {
    ProductKeyProblem<double> problem(shape, 11, normal);
    const auto drow_before = problem.drow_keys, dcol_before = problem.dcol_keys;
    run(device, problem.forward());
    run(device, problem.backward());
    ProductKeyProblem<Complex> complex(problem);
    const auto check = [&](std::vector<Complex>& x, const std::vector<double>& gradient,
                           const std::vector<double>& before) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        x[i].imag(step);
        const double expected = loss(reference, complex).imag() / step;
        x[i].imag(0);
        const double found = gradient[i] - (before.empty() ? 0 : before[i]);
        REQUIRE(std::abs(found - expected) < 1e-11 * (1 + std::abs(expected)));
      }
    };
    check(complex.query, problem.dquery, {});
    check(complex.row_keys, problem.drow_keys, drow_before);
    check(complex.col_keys, problem.dcol_keys, dcol_before);
  }
}

TEMPLATE_TEST_CASE("product_key_top_k: backward equals the plain loops", "", float, double) {
  using S = TestType;
  Cpu<S> device(2);
  Reference<double> reference;
  for (const ProductKeyShape& shape : product_key_shapes) {
    ProductKeyProblem<S> found(shape, 3, coarse);
    run(device, found.forward());
    ProductKeyProblem<double> expected(found);
    run(device, found.backward());
    run(reference, expected.backward());
    CAPTURE(shape.R, shape.H, shape.D, shape.n, shape.k);
    const double bound = std::is_same_v<S, float> ? 2e-5 : 1e-13;
    CHECK(difference(found.dquery, expected.dquery) < bound);
    CHECK(difference(found.drow_keys, expected.drow_keys) < bound);
    CHECK(difference(found.dcol_keys, expected.dcol_keys) < bound);
  }
}

TEMPLATE_TEST_CASE("PK-03: keys learn for k > 1, and cannot for k = 1", "", float, double) {
  using S = TestType;
  Cpu<S> device(2);
  for (const Index k : {Index{1}, Index{4}}) {
    ProductKeyProblem<S> problem({50, 2, 10, 12, k}, 1, normal);
    const auto drow_before = problem.drow_keys;
    problem.dcol_keys.assign(problem.dcol_keys.size(), S(0));
    run(device, problem.forward());
    run(device, problem.backward());
    if (k == 1) {
      CHECK(same_bits(problem.drow_keys, drow_before));
      for (const S x : problem.dcol_keys) REQUIRE(x == 0);
      for (const S x : problem.dquery) REQUIRE(x == 0);
    } else {
      std::vector<bool> hit(problem.dcol_keys.size() / 5);
      for (std::size_t e = 0; e < problem.slots.size(); ++e)
        hit[e / 4 % 2 * 12 + static_cast<std::size_t>(problem.slots[e] % 12)] = true;
      for (std::size_t key = 0; key < hit.size(); ++key)
        REQUIRE((problem.dcol_keys[key * 5] != 0) == hit[key]);
      // Where all slots share a side's key, that half of the query changes no weight, and may get exactly 0.
      for (std::size_t head = 0; head < problem.slots.size() / 4; ++head) {
        const auto* const slots = &problem.slots[head * 4];
        const auto shared = [&](auto key) {
          return std::all_of(slots, slots + 4, [&](auto slot) { return key(slot) == key(slots[0]); });
        };
        const bool rows = !shared([](auto slot) { return slot / 12; }),
                   cols = !shared([](auto slot) { return slot % 12; });
        for (std::size_t d = 0; d < 10; ++d)
          if (d < 5 ? rows : cols) REQUIRE(problem.dquery[head * 10 + d] != 0);
      }
    }
  }
}

TEMPLATE_TEST_CASE("product_key_top_k: frozen keys get no gradient and change no other", "", float, double) {
  using S = TestType;
  Cpu<S> device(2);
  ProductKeyProblem<S> trained({50, 2, 10, 12, 4}, 1, normal);
  run(device, trained.forward());
  for (const bool rows : {false, true})
    for (const bool cols : {false, true}) {
      ProductKeyProblem<S> all = trained, some = trained;
      const auto drow_before = some.drow_keys, dcol_before = some.dcol_keys;
      auto op = some.backward();
      if (!rows) op.drow_keys = {};
      if (!cols) op.dcol_keys = {};
      run(device, all.backward());
      run(device, op);
      CHECK(same_bits(some.dquery, all.dquery));
      CHECK(same_bits(some.drow_keys, rows ? all.drow_keys : drow_before));
      CHECK(same_bits(some.dcol_keys, cols ? all.dcol_keys : dcol_before));
    }
}

TEMPLATE_TEST_CASE("product_key_top_k: gradients of keys are added", "", float, double) {
  using S = TestType;
  Cpu<S> device(2);
  ProductKeyProblem<S> zero({30, 2, 10, 12, 4}, 1, normal), random = zero;
  zero.drow_keys.assign(zero.drow_keys.size(), S(0));
  run(device, zero.forward());
  run(device, zero.backward());
  const auto before = random.drow_keys;
  run(device, random.forward());
  run(device, random.backward());
  auto sum = before;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += zero.drow_keys[i];
  CHECK(difference(random.drow_keys, sum) < (std::is_same_v<S, float> ? 1e-5 : 1e-14));
}
