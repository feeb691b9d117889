// What generation remembers.
#pragma once

#include <array>

#include "midus/device/buffer.hpp"
#include "midus/layers/attention.hpp"

namespace midus {

/// Keys and values (key/value heads only) of every block of a model, the inserted ones included.
template <class Device, std::size_t Depth>
class KvCache {
  using S = typename Device::Scalar;

 public:
  /// Room for `capacity` tokens of each of `batch` sequences.
  KvCache(Index batch, Index capacity, int kv_heads, int head_dim)
      : shape_{{batch, capacity, kv_heads, head_dim}},
        memory_(2 * static_cast<Index>(Depth) * shape_.size()) {
    S* at = memory_.view().data();
    for (KeyValues<Device>& block : blocks) {
      block.keys = {at, shape_};
      block.values = {at + shape_.size(), shape_};
      at += 2 * shape_.size();
    }
  }

  Index batch() const { return shape_[0]; }
  Index capacity() const { return shape_[1]; }
  /// Tokens of each sequence that have been seen.
  Index used() const { return blocks.front().used; }
  /// Forgets all tokens after the first `used`.
  void truncate(Index used) {
    for (KeyValues<Device>& block : blocks) block.used = used;
  }

  std::array<KeyValues<Device>, Depth> blocks;

 private:
  Shape<4> shape_;
  Buffer<Device, S> memory_;
};

}  // namespace midus
