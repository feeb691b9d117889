// What a product-key look-up hands to the values.
#pragma once

#include <array>

#include "midus/core/tensor_spec.hpp"
#include "midus/device/device.hpp"

namespace midus {

/// The slots that each token's heads retrieved, and the softmax weights on them.
template <class Device>
struct MemoryRead {
  View<std::int32_t, 3> slots;  // [R,H,k]
  Out<Device, 3> weights;       // [R,H,k]
  In<Device, 3> query{};        // [R,H,D] what they looked up with, for values that depend on it
};

/// What the shapes of a value policy's tensors depend on.
struct ValueSizes {
  Index slots = 0;       ///< N = n²
  Index heads = 0;       ///< H
  Index head_width = 0;  ///< D
  Index rank = 0;        ///< r, the policy's own number; 0 where it has none
};

/// The sub-keys of `heads` look-ups, n per side, for queries `query_width` wide.
constexpr std::array<TensorSpec, 2> sub_key_tensors(Index heads, Index n, Index query_width) {
  const Start start = Start::uniform_by(query_width);
  return {TensorSpec{"row_keys", {heads, n, query_width / 2}, Role::keys, start},
          TensorSpec{"col_keys", {heads, n, query_width / 2}, Role::keys, start}};
}

/// The number of memory slots, n². Slots are counted in 32 bits on every device.
template <int Keys>
constexpr int slots_of() {
  static_assert(Keys >= 1, "Memory: Keys must be at least 1");
  static_assert(Keys <= 46340, "Memory: Keys squared must fit in 31 bits");
  return Keys * Keys;
}

}  // namespace midus
