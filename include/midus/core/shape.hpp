// Extents of a tensor.
#pragma once

#include <cstdint>
#include <string>

#include "midus/core/error.hpp"
#include "midus/core/host_device.hpp"

namespace midus {

/// Every extent, offset and count: 64 bits, so that T·H·k and n²·r may pass 2^31.
using Index = std::int64_t;

/// The extents of a row-major tensor, outermost first. A plain aggregate, so that kernels take it by value.
template <int Rank>
struct Shape {
  static_assert(Rank >= 1, "Shape: a tensor has at least one extent; write a scalar as Shape{1}");
  Index extents[Rank];

  MIDUS_HOST_DEVICE constexpr Index operator[](int axis) const { return extents[axis]; }
  MIDUS_HOST_DEVICE constexpr Index& operator[](int axis) { return extents[axis]; }

  /// The number of elements.
  MIDUS_HOST_DEVICE constexpr Index size() const {
    Index product = 1;
    for (int axis = 0; axis < Rank; ++axis) product *= extents[axis];
    return product;
  }

  MIDUS_HOST_DEVICE constexpr bool operator==(const Shape& other) const {
    for (int axis = 0; axis < Rank; ++axis)
      if (extents[axis] != other.extents[axis]) return false;
    return true;
  }
};

template <class... Extents>
Shape(Extents...) -> Shape<static_cast<int>(sizeof...(Extents))>;

/// "[2, 3, 5]", as messages print it.
template <int Rank>
std::string to_string(const Shape<Rank>& shape) {
  std::string out = "[";
  for (int axis = 0; axis < Rank; ++axis) out += (axis ? ", " : "") + std::to_string(shape[axis]);
  return out + "]";
}

/// The number of elements of a shape that comes from outside. Throws `Error` where an extent is below 0, or
/// their product more than an `Index` can count.
template <int Rank>
Index checked_size(const Shape<Rank>& shape) {
  Index size = 1;
  for (int axis = 0; axis < Rank; ++axis)
    if (shape[axis] < 0 || __builtin_mul_overflow(size, shape[axis], &size))
      fail("expected a shape whose extents are at least 0 and whose elements can be counted, found ",
           to_string(shape));
  return size;
}

}  // namespace midus
