#include "midus/ops/top_k_cpu.hpp"

#include <limits>
#include <numeric>
#include <vector>

#include "midus/core/random.hpp"
#include "support/catch.hpp"

using namespace midus;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class S>
struct Chosen {
  std::vector<S> values;
  std::vector<std::int32_t> indices;
};

template <class S>
Chosen<S> chosen(const std::vector<S>& x, Index k) {
  const auto room = static_cast<std::size_t>(k + top_k_slack);
  Chosen<S> out{std::vector<S>(room, S(not_a_number)), std::vector<std::int32_t>(room, -1)};
  top_k(x.data(), static_cast<Index>(x.size()), k, out.values.data(), out.indices.data());
  out.indices.resize(static_cast<std::size_t>(k));
  return out;
}

/// The rule, by a stable sort.
template <class S>
std::vector<std::int32_t> sorted_indices(const std::vector<S>& x, Index k) {
  std::vector<std::int32_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t i, std::int32_t j) {
    const S a = x[static_cast<std::size_t>(i)], b = x[static_cast<std::size_t>(j)];
    return std::isnan(a) || std::isnan(b) ? std::isnan(b) && !std::isnan(a) : a > b;
  });
  order.resize(static_cast<std::size_t>(k));
  return order;
}

/// Compares with the rule, the values bit for bit.
template <class S>
void check(const std::vector<S>& x, Index k) {
  const auto found = chosen(x, k);
  const auto expected = sorted_indices(x, k);
  CAPTURE(x.size(), k);
  REQUIRE(found.indices == expected);
  for (std::size_t e = 0; e < expected.size(); ++e) {
    const S a = found.values[e], b = x[static_cast<std::size_t>(expected[e])];
    REQUIRE((a == b || (std::isnan(a) && std::isnan(b))));
    REQUIRE(std::signbit(a) == std::signbit(b));
  }
}

const std::vector<Index> sizes{1,   2,   3,   4,   5,   7,   8,   9,   15,   16,  17,  31,
                               32,  33,  50,  63,  64,  65,  72,  96,  99,   100, 119, 127,
                               128, 129, 200, 255, 256, 257, 500, 512, 1000, 2049};

/// Calls f(x, k) for many sizes and k; `make` gives the numbers: (random, index) -> double.
template <class S, class Make>
void for_many(const char* name, Make&& make) {
  std::uint64_t seed = 1;
  for (const Index n : sizes)
    for (const Index k : {Index{1}, Index{2}, Index{3}, Index{5}, Index{8}, Index{11}, Index{16}, Index{17},
                          Index{24}, Index{32}, Index{33}, Index{64}, Index{100}, n / 2, n - 1, n}) {
      if (k < 1 || k > n) continue;
      const Random random(++seed, name);
      std::vector<S> x(static_cast<std::size_t>(n));
      for (Index i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = static_cast<S>(make(random, i, n));
      check(x, k);
    }
}

}  // namespace

TEMPLATE_TEST_CASE("top_k takes the largest in order", "", float, double) {
  using S = TestType;
  for_many<S>("normal", [](const Random& random, Index i, Index) { return random.normal(i); });
  for_many<S>("uniform", [](const Random& random, Index i, Index) { return random.uniform(i) - 0.5; });
}

TEMPLATE_TEST_CASE("equal numbers go by the lower index", "", float, double) {
  using S = TestType;
  for (const int distinct : {1, 2, 3, 5, 20})
    for_many<S>("ties", [&](const Random& random, Index i, Index) {
      return static_cast<double>(random.below(i, static_cast<std::uint64_t>(distinct)));
    });
  for_many<S>("zeros", [](const Random& random, Index i, Index) { return random.below(i, 2) ? 0.0 : -0.0; });
  for_many<S>("zeros and more", [](const Random& random, Index i, Index) {
    const std::uint64_t kind = random.below(i, 40);
    return kind == 0 ? 1.0 : kind == 1 ? -1.0 : kind % 2 ? 0.0 : -0.0;
  });
}

TEMPLATE_TEST_CASE("sorted and crowded rows", "", float, double) {
  using S = TestType;
  for_many<S>("up", [](const Random&, Index i, Index) { return static_cast<double>(i); });
  for_many<S>("down", [](const Random&, Index i, Index) { return -static_cast<double>(i); });
  // all the large ones in a few places, however a row is cut into groups
  for (const Index stride : {Index{2}, Index{4}, Index{8}, Index{16}, Index{32}, Index{64}})
    for_many<S>("stride", [&](const Random& random, Index i, Index) {
      return random.normal(i) + (i % stride == 0 ? 100 : 0);
    });
  for_many<S>("end", [](const Random& random, Index i, Index n) {
    return random.normal(i) + (i > n - n / 4 ? 100 : 0);
  });
}

TEMPLATE_TEST_CASE("denormals, infinities and NaN", "", float, double) {
  using S = TestType;
  constexpr double tiny = static_cast<double>(std::numeric_limits<S>::denorm_min());
  for_many<S>("denormal", [](const Random& random, Index i, Index) {
    return tiny * (static_cast<double>(random.below(i, 64)) - 32);
  });
  for_many<S>("infinite", [](const Random& random, Index i, Index) {
    const std::uint64_t kind = random.below(i, 6);
    return kind == 0 ? infinity : kind == 1 ? -infinity : random.normal(i);
  });
  for_many<S>("all -Inf", [](const Random&, Index, Index) { return -infinity; });
  for_many<S>("all +Inf", [](const Random&, Index, Index) { return infinity; });
  for_many<S>("all NaN", [](const Random&, Index, Index) { return not_a_number; });
  for_many<S>("some NaN", [](const Random& random, Index i, Index) {
    return random.below(i, 10) == 0 ? (random.below(i, 20) ? not_a_number : -not_a_number) : random.normal(i);
  });
  for_many<S>("most NaN", [](const Random& random, Index i, Index) {
    const std::uint64_t kind = random.below(i, 20);
    return kind == 0 ? -infinity : kind == 1 ? random.normal(i) : kind == 2 ? infinity : not_a_number;
  });
  for_many<S>("NaN and -Inf", [](const Random& random, Index i, Index) {
    return random.below(i, 2) ? not_a_number : -infinity;
  });
}

TEMPLATE_TEST_CASE("PK-01: one side for every k", "", float, double) {
  using S = TestType;
  const std::vector<S> x{1, 2, 5, 4, 5};
  CHECK(chosen(x, 1).indices == std::vector<std::int32_t>{2});
  CHECK(chosen(x, 2).indices == std::vector<std::int32_t>{2, 4});
  CHECK(chosen(x, 3).indices == std::vector<std::int32_t>{2, 4, 3});
  CHECK(chosen(x, 4).indices == std::vector<std::int32_t>{2, 4, 3, 1});
  CHECK(chosen(x, 5).indices == std::vector<std::int32_t>{2, 4, 3, 1, 0});
}
