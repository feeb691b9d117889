// An order of many things that is reckoned, not stored.
#pragma once

#include <cassert>
#include <cstdint>

#include "midus/core/random.hpp"
#include "midus/core/shape.hpp"

namespace midus {

/// A random permutation of 0, ..., size − 1 in constant memory: a Feistel network over the next even number
/// of bits, applied again while it leads outside (cycle walking; Black and Rogaway 2002, doi
/// 10.1007/3-540-45760-7_9). At most four applications on average once the size exceeds 16.
class Permutation {
 public:
  constexpr Permutation(Index size, std::uint64_t key) : size_(size), rounds_(key, "permutation") {
    // At least 6 bits: over 4, the orders of five or six things come about unequally often.
    while (half_ < 31 && (Index{1} << 2 * half_) < size) ++half_;
  }

  Index size() const { return size_; }

  /// Where `place` goes.
  constexpr Index operator()(Index place) const {
    assert(place >= 0 && place < size_);
    auto x = static_cast<std::uint64_t>(place);
    do x = once(x);
    while (x >= static_cast<std::uint64_t>(size_));
    return static_cast<Index>(x);
  }

 private:
  constexpr std::uint64_t once(std::uint64_t x) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_) - 1;
    std::uint64_t left = x >> half_, right = x & mask;
    for (std::uint64_t round = 0; round < 8; ++round) {
      const std::uint64_t mixed = left ^ (rounds_.bits(static_cast<Index>(round << 32 | right)) & mask);
      left = right;
      right = mixed;
    }
    return left << half_ | right;
  }

  Index size_;
  int half_ = 3;  // bits of each half
  Random rounds_;
};

}  // namespace midus
