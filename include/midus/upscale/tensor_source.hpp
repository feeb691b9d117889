// Where the values of a new model's tensors come from.
#pragma once

#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "midus/core/random.hpp"
#include "midus/core/tensor_spec.hpp"

namespace midus {

/// The values that one tensor of a deeper model starts with.
struct TensorSource {
  using Kind = Start::Kind;
  Kind kind = Kind::zero;
  std::string from{};  ///< of a copy: the base's tensor
  double scale = 0;    ///< of random numbers: the standard deviation, or the bound

  static TensorSource copy_of(std::string name) { return {Kind::copy, std::move(name), 0}; }
  static TensorSource zeros() { return {}; }
  static TensorSource normal(double deviation) { return {Kind::normal, {}, deviation}; }
  static TensorSource uniform(double bound) { return {Kind::uniform, {}, bound}; }
  /// What a tensor says of itself; `beside` is the tensor that a copy is of.
  static TensorSource of(const Start& start, std::string beside) {
    return start.kind == Kind::copy ? copy_of(std::move(beside))
                                    : TensorSource{start.kind, {}, start.spread()};
  }

  bool is_copy() const { return kind == Kind::copy; }
  bool operator==(const TensorSource&) const = default;
};

/// Elements first, first + 1, ... of the tensor `name`, which is not a copy. An element depends on the seed,
/// the tensor's name and its index alone, so that a tensor may be made in pieces, in any order, anywhere.
template <std::floating_point S>
void fill(const TensorSource& source, std::uint64_t seed, std::string_view name, std::span<S> to,
          Index first = 0) {
  assert(!source.is_copy());
  const Random random(seed, name);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const Index index = first + static_cast<Index>(i);
    double value = 0;
    if (source.kind == TensorSource::Kind::normal) value = source.scale * random.normal(index);
    if (source.kind == TensorSource::Kind::uniform) value = source.scale * (2 * random.uniform(index) - 1);
    to[i] = static_cast<S>(value);
  }
}

}  // namespace midus
