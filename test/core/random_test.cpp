#include "midus/core/random.hpp"

#include <cmath>
#include <numbers>
#include <set>

#include "support/catch.hpp"

namespace midus {
namespace {

using Words = std::array<std::uint32_t, 4>;

/// Philox 4x32-10 as the paper writes it.
Words philox(Words counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t left = 0xD2511F53ull * counter[0], right = 0xCD9E8D57ull * counter[2];
    counter = {static_cast<std::uint32_t>(right >> 32) ^ counter[1] ^ key0, static_cast<std::uint32_t>(right),
               static_cast<std::uint32_t>(left >> 32) ^ counter[3] ^ key1, static_cast<std::uint32_t>(left)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

TEST_CASE("random: the published vectors of Philox 4x32-10 (Random123, kat_vectors)") {
  CHECK(philox({0, 0, 0, 0}, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random: words are Philox of index and name, keyed by the seed") {
  for (const std::uint64_t seed : {0ull, 1ull, 0x299f31d0a4093822ull})
    for (const char* name : {"", "model.embed_tokens.weight"})
      for (const Index index : {Index{0}, Index{1}, (Index{1} << 40) + 5}) {
        const std::uint64_t stream = hash_name(name), counter = static_cast<std::uint64_t>(index);
        CHECK(Random(seed, name).words(index) ==
              philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                      static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                     static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)));
      }
}

TEST_CASE("random: FNV-1a of names (the published vectors)") {
  CHECK(hash_name("") == 0xcbf29ce484222325u);
  CHECK(hash_name("a") == 0xaf63dc4c8601ec8cu);
  CHECK(hash_name("foobar") == 0x85944171f73967e8u);
}

TEST_CASE("random: uniform numbers lie in [0, 1) and fill it") {
  const Random random(3, "uniform");
  double sum = 0, squares = 0, least = 1, largest = 0;
  constexpr Index n = 100000;
  for (Index i = 0; i < n; ++i) {
    const double x = random.uniform(i);
    REQUIRE((x >= 0 && x < 1));
    sum += x;
    squares += x * x;
    least = std::min(least, x);
    largest = std::max(largest, x);
  }
  CHECK(std::fabs(sum / n - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  CHECK(std::fabs(squares / n - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / n));
  CHECK(least < 1e-4);
  CHECK(largest > 1 - 1e-4);
}

TEST_CASE("random: normal numbers have the normal's first four moments") {
  const Random random(3, "normal");
  double moments[5] = {};
  constexpr Index n = 100000;
  for (Index i = 0; i < n; ++i) {
    const double x = random.normal(i);
    REQUIRE(std::isfinite(x));
    for (int m = 1; m <= 4; ++m) moments[m] += std::pow(x, m) / n;
  }
  CHECK(std::fabs(moments[1]) < 5 * std::sqrt(1.0 / n));
  CHECK(std::fabs(moments[2] - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::fabs(moments[3]) < 5 * std::sqrt(15.0 / n));
  CHECK(std::fabs(moments[4] - 3) < 5 * std::sqrt(96.0 / n));
}

TEST_CASE("random: normals are four independent normal numbers, by Box and Muller's formula") {
  const Random random(3, "normals");
  constexpr Index n = 50000;
  double moments[4][5] = {}, products[4][4] = {}, largest = 0;
  for (Index i = 0; i < n; ++i) {
    const std::array<float, 4> x = random.normals(i);
    const auto words = random.words(i);
    for (std::size_t j = 0; j < 4; ++j) {
      const double radius = std::sqrt(-2 * std::log((words.at(j / 2 * 2) + 0.5) * 0x1p-32));
      const double angle = 2 * std::numbers::pi * (words.at(j / 2 * 2 + 1) * 0x1p-32);
      // The float's share of the angle's rounding, of the logarithm's, and of the uniform number's near 1.
      REQUIRE(std::fabs(x.at(j) - radius * (j % 2 ? std::sin(angle) : std::cos(angle))) <
              2e-5 + 5e-4 * (radius < 0.01));
      for (int m = 1; m <= 4; ++m) moments[j][m] += std::pow(x.at(j), m) / n;
      for (std::size_t k = 0; k < 4; ++k) products[j][k] += static_cast<double>(x.at(j)) * x.at(k) / n;
      largest = std::max(largest, std::fabs(static_cast<double>(x.at(j))));
    }
  }
  for (std::size_t j = 0; j < 4; ++j) {
    CHECK(std::fabs(moments[j][1]) < 5 * std::sqrt(1.0 / n));
    CHECK(std::fabs(moments[j][2] - 1) < 5 * std::sqrt(2.0 / n));
    CHECK(std::fabs(moments[j][3]) < 5 * std::sqrt(15.0 / n));
    CHECK(std::fabs(moments[j][4] - 3) < 5 * std::sqrt(96.0 / n));
    for (std::size_t k = 0; k < j; ++k) CHECK(std::fabs(products[j][k]) < 5 * std::sqrt(1.0 / n));
  }
  CHECK(largest > 4);
  CHECK(largest < 6.8);
}

TEST_CASE("random: below covers its range evenly, also a large one") {
  const Random random(5, "below");
  std::array<int, 7> counts{};
  for (Index i = 0; i < 70000; ++i) ++counts.at(random.below(i, 7));
  for (const int count : counts) CHECK(std::abs(count - 10000) < 5 * 93);
  CHECK(random.below(0, 1) == 0);
  const std::uint64_t bound = (std::uint64_t{1} << 63) + 12345;
  for (Index i = 0; i < 100; ++i) {
    // The high word of the 128-bit product, by long double's 64 bits of mantissa: exact to one.
    const auto expected =
        static_cast<long double>(random.bits(i)) * static_cast<long double>(bound) * 0x1p-64L;
    CHECK(std::fabs(static_cast<double>(static_cast<long double>(random.below(i, bound)) - expected)) <= 1.5);
  }
}

TEST_CASE("random: other seeds, names and indices give other numbers") {
  std::set<std::uint64_t> seen;
  for (const std::uint64_t seed : {1ull, 2ull})
    for (const char* name : {"a", "b"})
      for (Index i = 0; i < 1000; ++i) seen.insert(Random(seed, name).bits(i));
  CHECK(seen.size() == 4000);
}

}  // namespace
}  // namespace midus
