// What a product-key look-up hands to the values.
#pragma once

#include "midus/device/device.hpp"

namespace midus {

/// The slots that each token's heads retrieved, and the softmax weights on them.
template <class Device>
struct MemoryRead {
  View<std::int32_t, 3> slots;  // [R,H,k]
  Out<Device, 3> weights;       // [R,H,k]
};

/// The number of memory slots, n². Slots are counted in 32 bits on every device.
template <int Keys>
constexpr int slots_of() {
  static_assert(Keys >= 1, "Memory: Keys must be at least 1");
  static_assert(Keys <= 46340, "Memory: Keys squared must fit in 31 bits");
  return Keys * Keys;
}

}  // namespace midus
