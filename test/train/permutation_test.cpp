#include "midus/train/permutation.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "support/catch.hpp"

using namespace midus;

namespace {

std::vector<Index> order(Index size, std::uint64_t key) {
  const Permutation permutation(size, key);
  std::vector<Index> all;
  for (Index place = 0; place < size; ++place) all.push_back(permutation(place));
  return all;
}

}  // namespace

TEST_CASE("Permutation: every place is taken once") {
  for (const Index size : {1, 2, 3, 4, 5, 16, 63, 64, 65, 255, 256, 257, 1000, 4097})
    for (std::uint64_t key = 0; key < 5; ++key) {
      std::vector<bool> seen(static_cast<std::size_t>(size));
      for (const Index i : order(size, key)) {
        REQUIRE(i >= 0);
        REQUIRE(i < size);
        REQUIRE_FALSE(seen[static_cast<std::size_t>(i)]);
        seen[static_cast<std::size_t>(i)] = true;
      }
    }
}

TEST_CASE("Permutation: the key decides the order") {
  CHECK(order(1000, 1) == order(1000, 1));
  CHECK(order(1000, 1) != order(1000, 2));
  const Permutation permutation(1000, 7);
  CHECK(permutation.size() == 1000);
  CHECK(permutation(999) == order(1000, 7)[999]);
}

// A run that an older build began goes on in the same order of windows.
TEST_CASE("Permutation: the order of a key stays") {
  CHECK(order(10, 7) == std::vector<Index>{1, 0, 5, 8, 7, 3, 9, 4, 6, 2});
  CHECK(Permutation(1000, 7)(0) == 684);
}

TEST_CASE("Permutation: all orders of a few things come about equally often") {
  Index orders = 1;
  for (const Index size : {2, 3, 4, 5}) {
    orders *= size;
    std::map<std::vector<Index>, int> counts;
    for (Index key = 0; key < 200 * orders; ++key) ++counts[order(size, static_cast<std::uint64_t>(key))];
    CHECK(static_cast<Index>(counts.size()) == orders);
    double chi_square = 0;
    for (const auto& [seen, count] : counts) chi_square += (count - 200.0) * (count - 200.0) / 200;
    // Mean and variance are f and 2f for f degrees of freedom; the distribution has a tail for small f.
    const auto freedom = static_cast<double>(orders - 1);
    CHECK(chi_square < freedom + 4 * std::sqrt(2 * freedom) + 6);
  }
}

TEST_CASE("Permutation: places and values are uncorrelated") {
  constexpr Index size = 1000;
  std::array<int, 10> first{};
  for (std::uint64_t key = 0; key < 10000; ++key)
    ++first[static_cast<std::size_t>(Permutation(size, key)(0) / 100)];
  double chi_square = 0;
  for (const int count : first) chi_square += (count - 1000.0) * (count - 1000.0) / 1000;
  CHECK(chi_square < 30);  // 9 degrees of freedom, p = 4e-4
}

TEST_CASE("Permutation: sizes beyond 32 bits") {
  const Index size = (Index{1} << 40) + 7;
  const Permutation permutation(size, 1);
  for (Index place = size - 20; place < size; ++place) {
    CHECK(permutation(place) >= 0);
    CHECK(permutation(place) < size);
  }
}
