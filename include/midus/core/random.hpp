// Random numbers that are the same on every machine, for any number of threads, in any order.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

#include "midus/core/shape.hpp"

namespace midus {

/// 64-bit FNV-1a of a text: how a tensor's name becomes a part of a key.
constexpr std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

/// Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011, doi 10.1145/2063384.2063405): the value
/// at an index depends on the seed, the stream's name and the index alone. There is no state to save.
class Random {
 public:
  constexpr Random(std::uint64_t seed, std::string_view stream) : seed_(seed), stream_(hash_name(stream)) {}

  /// Four independent words of 32 bits.
  constexpr std::array<std::uint32_t, 4> words(Index index) const {
    const auto counter = static_cast<std::uint64_t>(index);
    std::array<std::uint32_t, 4> x{low(counter), high(counter), low(stream_), high(stream_)};
    std::uint32_t key0 = low(seed_), key1 = high(seed_);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t a = std::uint64_t{0xD2511F53u} * x[0], b = std::uint64_t{0xCD9E8D57u} * x[2];
      x = {high(b) ^ x[1] ^ key0, low(b), high(a) ^ x[3] ^ key1, low(a)};
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    return x;
  }

  /// 64 random bits.
  constexpr std::uint64_t bits(Index index) const {
    const auto x = words(index);
    return (std::uint64_t{x[0]} << 32) | x[1];
  }

  /// Uniform in [0, 1), 53 bits.
  constexpr double uniform(Index index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }

  /// Uniform among 0 ... bound - 1 (bias below 2^-64 · bound).
  constexpr std::uint64_t below(Index index, std::uint64_t bound) const {
    // The high word of bits · bound, in halves, so that no 128-bit type is needed.
    const std::uint64_t x = bits(index);
    const std::uint64_t lower = (x & 0xffffffffu) * (bound & 0xffffffffu);
    const std::uint64_t mid1 = (x >> 32) * (bound & 0xffffffffu) + (lower >> 32);
    const std::uint64_t mid2 = (x & 0xffffffffu) * (bound >> 32) + (mid1 & 0xffffffffu);
    return (x >> 32) * (bound >> 32) + (mid1 >> 32) + (mid2 >> 32);
  }

  /// Standard normal (Box-Muller).
  double normal(Index index) const {
    const auto x = words(index);
    const double u = (static_cast<double>((std::uint64_t{x[0]} << 32 | x[1]) >> 11) + 0.5) * 0x1p-53;
    const double v = static_cast<double>((std::uint64_t{x[2]} << 32 | x[3]) >> 11) * 0x1p-53;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }

  /// Four independent standard normals, to the precision of a float and below 6.8: for filling much memory,
  /// at a quarter of what four of `normal` cost.
  std::array<float, 4> normals(Index index) const {
    const auto x = words(index);
    std::array<float, 4> out;
    for (std::size_t i = 0; i < 4; i += 2) {
      const float radius = std::sqrt(-2 * std::log((static_cast<float>(x[i]) + 0.5f) * 0x1p-32f));
      const float angle = static_cast<float>(x[i + 1]) * (0x1p-31f * std::numbers::pi_v<float>);
      out[i] = radius * std::cos(angle);
      out[i + 1] = radius * std::sin(angle);
    }
    return out;
  }

 private:
  static constexpr std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  static constexpr std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

  std::uint64_t seed_;
  std::uint64_t stream_;
};

}  // namespace midus
