// What generation remembers.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <vector>

#include "midus/device/buffer.hpp"
#include "midus/layers/attention.hpp"

namespace midus {

/// Keys and values (key/value heads only) of every block of a model, the inserted ones included, for
/// sequences of unequal lengths.
template <class Device, std::size_t Depth>
class KvCache {
  using S = typename Device::Scalar;

 public:
  using Blocks = std::array<KeyValues<Device>, Depth>;

  /// Room for `capacity` tokens of each of `batch` sequences.
  KvCache(Index batch, Index capacity, int kv_heads, int head_dim)
      : shape_{{batch, capacity, kv_heads, head_dim}},
        memory_(checked_size(Shape{checked_size(shape_), 2 * static_cast<Index>(Depth)})),
        used_(static_cast<std::size_t>(batch), 0) {}

  Index batch() const { return shape_[0]; }
  Index capacity() const { return shape_[1]; }

  /// How many tokens of each sequence are in it.
  const std::vector<std::int32_t>& used() const { return used_; }
  /// `count` tokens of a sequence have been put behind those in use.
  void append(Index sequence, Index count) { used_[at(sequence)] += static_cast<std::int32_t>(count); }
  /// Forgets all tokens of a sequence after the first `count`.
  void truncate(Index sequence, Index count) { used_[at(sequence)] = static_cast<std::int32_t>(count); }

  /// Sequence `to` becomes what `from` is.
  void copy(Device& device, Index from, Index to) {
    if (from == to) return;
    const auto row = [&](const View<S, 4>& all, Index sequence) {
      return View<S, 1>(all.row(sequence), Shape<1>{{used_[at(from)] * shape_[2] * shape_[3]}});
    };
    for (const KeyValues<Device>& block : blocks(0, batch()))
      for (const View<S, 4>& all : {block.keys, block.values})
        device.copy(View<const S, 1>(row(all, from)), row(all, to));
    used_[at(to)] = used_[at(from)];
  }

  /// What every block keeps of `count` sequences from `first` on.
  Blocks blocks(Index first, Index count) const {
    Blocks all;
    S* next = memory_.view().data();
    for (KeyValues<Device>& block : all)
      for (View<S, 4>* part : {&block.keys, &block.values}) {
        *part = View<S, 4>(next, shape_).slice(first, count);
        next += shape_.size();
      }
    return all;
  }

 private:
  std::size_t at(Index sequence) const {
    assert(sequence >= 0 && sequence < batch());
    return static_cast<std::size_t>(sequence);
  }

  Shape<4> shape_;
  Buffer<Device, S> memory_;
  std::vector<std::int32_t> used_;
};

}  // namespace midus
