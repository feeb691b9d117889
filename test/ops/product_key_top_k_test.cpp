#include <numeric>
#include <set>

#include "ops/product_key_problem.hpp"
#include "support/catch.hpp"

using namespace midus;

namespace {

using Slots = std::vector<std::int32_t>;
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class S>
double tolerance() {
  return std::is_same_v<S, float> ? 2e-6 : 1e-14;
}

/// Forward on the processor and by brute force: the same slots, weights to rounding.
template <class S>
void check_forward(ProductKeyProblem<S> found) {
  ProductKeyProblem<S> expected = found;
  Cpu<S> device(2);
  Reference<S> reference;
  run(device, found.forward());
  run(reference, expected.forward());
  CAPTURE(found.shape.R, found.shape.H, found.shape.D, found.shape.n, found.shape.k);
  REQUIRE(found.slots == expected.slots);
  REQUIRE(difference(found.weights, expected.weights) < tolerance<S>());
}

/// A query of one number per side reads the scores off the keys: scores given, one row, one head.
template <class S>
ProductKeyProblem<S> with_scores(std::vector<S> row, std::vector<S> col, Index k) {
  ProductKeyProblem<S> problem({1, 1, 2, static_cast<Index>(row.size()), k}, 1, coarse);
  problem.query = {1, 1};
  problem.row_keys = std::move(row);
  problem.col_keys = std::move(col);
  return problem;
}

template <class S>
Slots slots_of_scores(std::vector<S> row, std::vector<S> col, Index k) {
  auto problem = with_scores<S>(std::move(row), std::move(col), k);
  check_forward(problem);
  Cpu<S> device(1);
  run(device, problem.forward());
  return problem.slots;
}

}  // namespace

TEMPLATE_TEST_CASE("product_key_top_k equals brute force over all sums", "", float, double) {
  for (const ProductKeyShape& shape : product_key_shapes)
    for (std::uint64_t seed = 1; seed <= 6; ++seed)
      check_forward(ProductKeyProblem<TestType>(shape, seed, coarse));
}

TEST_CASE("product_key_top_k on normal numbers") {
  for (const ProductKeyShape& shape : product_key_shapes)
    for (std::uint64_t seed = 1; seed <= 6; ++seed)
      check_forward(ProductKeyProblem<double>(shape, seed, normal));
}

TEMPLATE_TEST_CASE("PK-01: ties", "", float, double) {
  using S = TestType;
  ProductKeyProblem<S> zero({1, 1, 6, 4, 2}, 1, coarse);
  zero.query.assign(6, S(0));
  Cpu<S> device(1);
  run(device, zero.forward());
  CHECK(zero.slots == Slots{0, 1});
  CHECK(zero.weights == std::vector<S>{S(0.5), S(0.5)});
  CHECK(slots_of_scores<S>({5, 5, 5, 1}, {2, 2, 0, 0}, 2) == Slots{0, 1});
  // one side alone: the other's first sub-key stands out
  const std::vector<S> side{1, 2, 5, 4, 5}, other{1000, 0, 0, 0, 0};
  CHECK(slots_of_scores<S>(side, other, 1) == Slots{10});
  CHECK(slots_of_scores<S>(side, other, 3) == Slots{10, 20, 15});
  CHECK(slots_of_scores<S>(side, other, 5) == Slots{10, 20, 15, 5, 0});
  CHECK(slots_of_scores<S>(other, side, 5) == Slots{2, 4, 3, 1, 0});
}

TEMPLATE_TEST_CASE("equal sums go by grid rank, not by slot", "", float, double) {
  // ranks: rows 2, 1, 0; cols 0, 1, 2; the sums 3 at (row 2, col 1) and (row 1, col 0): the better row first
  CHECK(slots_of_scores<TestType>({0, 1, 2}, {2, 1, 0}, 3) == Slots{6, 7, 3});
}

TEMPLATE_TEST_CASE("duplicate keys, zeros of both signs, denormals", "", float, double) {
  using S = TestType;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const ProductKeyShape shape{3, 2, 2, 24, 7};
    const double tiny = static_cast<double>(std::numeric_limits<S>::denorm_min());
    ProductKeyProblem<S> problem(shape, seed, [&](const Random& random, Index i) {
      return tiny * (static_cast<double>(random.below(i, 9)) - 4);
    });
    problem.query.assign(problem.query.size(), S(1));
    check_forward(problem);
    check_forward(ProductKeyProblem<S>(
        shape, seed, [](const Random& random, Index i) { return random.below(i, 2) ? 0.0 : -0.0; }));
    check_forward(ProductKeyProblem<S>(shape, seed, [](const Random&, Index) { return 1.0; }));
  }
}

TEMPLATE_TEST_CASE("NaN and infinities: slots in range, the same as by brute force", "", float, double) {
  using S = TestType;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const auto kinds = 3 + seed % 10;  // few: most are special
    const ProductKeyShape shape{2, 2, 2, 3 + static_cast<Index>(seed % 40), 3};
    ProductKeyProblem<S> problem(shape, seed, [&](const Random& random, Index i) {
      const std::uint64_t kind = random.below(i, kinds);
      return kind == 0 ? not_a_number : kind == 1 ? infinity : kind == 2 ? -infinity : coarse(random, i);
    });
    check_forward(problem);
    problem.query.assign(problem.query.size(), S(1));
    check_forward(problem);
    problem.query.assign(problem.query.size(), S(not_a_number));
    check_forward(problem);
  }
}

TEMPLATE_TEST_CASE("the rule for NaN", "", float, double) {
  using S = TestType;
  const S nan_score = S(not_a_number), inf = S(infinity);
  const auto weights_of = [&](std::vector<S> row, std::vector<S> col, Index k) {
    auto problem = with_scores<S>(std::move(row), std::move(col), k);
    Cpu<S> device(1);
    run(device, problem.forward());
    return problem.weights;
  };
  CHECK(slots_of_scores<S>({nan_score, 1, -inf}, {0, nan_score, -1}, 3) == Slots{3, 5, 6});
  CHECK(weights_of({nan_score, 1, 0}, {0, nan_score, 0}, 2) == std::vector<S>{S(0.5), S(0.5)});
  for (const S w : weights_of({nan_score, 1}, {0, nan_score}, 2)) CHECK(std::isnan(w));  // a NaN is chosen
  for (const S w : weights_of({inf, 1}, {0, 1}, 2)) CHECK(std::isnan(w));                // inf − inf
  CHECK(weights_of({1, -inf}, {0, -inf}, 2) == std::vector<S>{1, 0});
  CHECK(slots_of_scores<S>({inf, 5}, {3, -inf}, 2) == Slots{0, 2});  // inf − inf counts as −inf
}

TEST_CASE(
    "at least k sums are as large as one of the frontier, and the frontier leaves out none of those pairs") {
  for (Index k = 1; k <= 70; ++k) {
    Arena scratch;
    const ProductKeyPairs pairs(k, scratch);
    Slots expected_a, expected_b, found_a(pairs.frontier_a, pairs.frontier_a + pairs.frontier),
        found_b(pairs.frontier_b, pairs.frontier_b + pairs.frontier);
    // of the pairs (i,j) with k pairs up to them, (i+1)(j+1) >= k, those that lose this with one less of i or
    // of j
    for (Index i = 0; i < k; ++i)
      for (Index j = 0; j < k; ++j)
        if ((i + 1) * (j + 1) >= k && i * (j + 1) < k && (i + 1) * j < k) {
          expected_a.push_back(static_cast<std::int32_t>(i));
          expected_b.push_back(static_cast<std::int32_t>(j));
        }
    CAPTURE(k);
    CHECK(found_a == expected_a);
    CHECK(found_b == expected_b);
  }
}

TEMPLATE_TEST_CASE("permuting sub-keys permutes the slots", "", float, double) {
  using S = TestType;
  ProductKeyProblem<S> plain({20, 2, 30, 40, 6}, 5, normal), permuted = plain;
  const Index n = 40, half = 15;
  const auto moved = [&](Index i) { return (i * 7 + 3) % n; };
  for (Index h = 0; h < 2; ++h)
    for (Index i = 0; i < n; ++i)
      for (Index c = 0; c < half; ++c)
        permuted.row_keys[static_cast<std::size_t>((h * n + moved(i)) * half + c)] =
            plain.row_keys[static_cast<std::size_t>((h * n + i) * half + c)];
  Cpu<S> device(1);
  run(device, plain.forward());
  run(device, permuted.forward());
  for (std::size_t e = 0; e < plain.slots.size(); ++e)
    REQUIRE(permuted.slots[e] == moved(plain.slots[e] / n) * n + plain.slots[e] % n);
  CHECK(difference(permuted.weights, plain.weights) < tolerance<S>());
}

TEMPLATE_TEST_CASE("a constant added to the scores of one half changes nothing", "", float, double) {
  using S = TestType;
  ProductKeyProblem<S> plain({20, 1, 4, 40, 6}, 5, coarse), shifted = plain;
  for (S& key : shifted.col_keys) key += S(2);  // exact
  Cpu<S> device(1);
  run(device, plain.forward());
  run(device, shifted.forward());
  CHECK(shifted.slots == plain.slots);
  CHECK(difference(shifted.weights, plain.weights) < tolerance<S>());
}

TEMPLATE_TEST_CASE("the same slots and bits on any number of threads", "", float, double) {
  using S = TestType;
  const ProductKeyProblem<S> start({203, 3, 26, 37, 9}, 7, normal);
  ProductKeyProblem<S> one = start;
  Cpu<S> single(1);
  run(single, one.forward());
  run(single, one.backward());
  for (const int threads : {2, 3, 8}) {
    ProductKeyProblem<S> many = start;
    Cpu<S> device(threads);
    run(device, many.forward());
    run(device, many.backward());
    CHECK(many.slots == one.slots);
    CHECK(same_bits(many.weights, one.weights));
    CHECK(same_bits(many.dquery, one.dquery));
    CHECK(same_bits(many.drow_keys, one.drow_keys));
    CHECK(same_bits(many.dcol_keys, one.dcol_keys));
  }
}

TEMPLATE_TEST_CASE("a dry run touches nothing, no rows are no work", "", float, double) {
  using S = TestType;
  Cpu<S> device(2);
  ProductKeyProblem<S> problem({70, 2, 10, 12, 4}, 1, coarse);
  const ProductKeyProblem<S> before = problem;
  const std::size_t bytes = device.measure([&] {
    run(device, problem.forward());
    run(device, problem.backward());
  });
  CHECK(problem.slots == before.slots);
  CHECK(same_bits(problem.weights, before.weights));
  CHECK(same_bits(problem.dquery, before.dquery));
  CHECK(same_bits(problem.drow_keys, before.drow_keys));
  run(device, problem.forward());
  run(device, problem.backward());
  CHECK(device.peak_bytes() == bytes);

  ProductKeyProblem<S> empty({0, 2, 10, 12, 4}, 1, coarse);
  const ProductKeyProblem<S> untouched = empty;
  run(device, empty.forward());
  run(device, empty.backward());
  CHECK(same_bits(empty.drow_keys, untouched.drow_keys));
}

TEMPLATE_TEST_CASE("keys in bfloat16 give the bits of the same keys widened", "", float, double) {
  using S = TestType;
  ProductKeyProblem<S> full({45, 2, 18, 21, 5}, 3, normal);
  std::vector<bfloat16> row, col;
  for (S& key : full.row_keys) {
    row.push_back(bfloat16::from(static_cast<float>(key)));
    key = static_cast<S>(row.back().to_float());
  }
  for (S& key : full.col_keys) {
    col.push_back(bfloat16::from(static_cast<float>(key)));
    key = static_cast<S>(col.back().to_float());
  }
  ProductKeyProblem<S> half = full;
  const auto drow_before = half.drow_keys;
  Cpu<S> device(2);
  auto forward = half.forward();
  forward.row_keys = View<const bfloat16, 3>(row.data(), half.keys());
  forward.col_keys = View<const bfloat16, 3>(col.data(), half.keys());
  auto backward = half.backward();
  backward.row_keys = forward.row_keys;
  backward.col_keys = forward.col_keys;
  backward.drow_keys = {};  // frozen, as bfloat16 keys are
  run(device, full.forward());
  run(device, full.backward());
  run(device, forward);
  run(device, backward);
  CHECK(half.slots == full.slots);
  CHECK(same_bits(half.weights, full.weights));
  CHECK(same_bits(half.dquery, full.dquery));
  CHECK(same_bits(half.dcol_keys, full.dcol_keys));
  CHECK(same_bits(half.drow_keys, drow_before));
}
