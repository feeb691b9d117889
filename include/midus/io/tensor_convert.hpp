// Weights between the bytes of a file and numbers in memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "midus/core/dtype.hpp"
#include "midus/core/error.hpp"

namespace midus {

/// The types that a weight may have: in files, and in memory the same.
template <class T>
concept WeightScalar = std::is_same_v<T, double> || std::is_same_v<T, float> || std::is_same_v<T, float16> ||
    std::is_same_v<T, bfloat16>;

/// How files call the type.
template <WeightScalar T>
inline constexpr Dtype dtype_of = std::is_same_v<T, double>    ? Dtype::f64
                                  : std::is_same_v<T, float>   ? Dtype::f32
                                  : std::is_same_v<T, float16> ? Dtype::f16
                                                               : Dtype::bf16;

/// One number in another type: exactly where it widens, to the nearest (ties to even) where it narrows;
/// beyond the largest it becomes infinite, and NaN stays NaN.
template <WeightScalar To, WeightScalar From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>)
    return value;
  else if constexpr (!std::is_floating_point_v<From>)
    return convert<To>(value.to_float());
  else if constexpr (std::is_floating_point_v<To>)
    return static_cast<To>(value);
  else if constexpr (std::is_same_v<From, double>)
    return To::from(narrow_to_odd(value));
  else
    return To::from(value);
}

/// Calls `f` with a value of the type that `dtype` names. Throws `Error` where no weight has it.
template <class F>
auto with_weight_scalar(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::f64:
      return f(double{});
    case Dtype::f32:
      return f(float{});
    case Dtype::f16:
      return f(float16{});
    case Dtype::bf16:
      return f(bfloat16{});
    default:
      fail("expected weights as F64, F32, F16 or BF16, found ", to_string(dtype));
  }
}

/// Reads weights out of a file's bytes, which need no alignment. Throws `Error` where their number is not
/// that of `to`.
template <WeightScalar To>
void read_weights(Dtype dtype, std::span<const std::byte> bytes, std::span<To> to) {
  with_weight_scalar(dtype, [&]<class From>(From value) {
    if (bytes.size() != to.size() * sizeof(From))
      fail("expected ", to.size(), " weights of ", to_string(dtype), ", found ", bytes.size(), " bytes");
    if (to.empty()) return;  // memcpy wants no null
    if constexpr (std::is_same_v<To, From>) {
      std::memcpy(to.data(), bytes.data(), bytes.size());
    } else {
      for (std::size_t i = 0; i < to.size(); ++i) {
        std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
        to[i] = convert<To>(value);
      }
    }
  });
}

/// The bytes of weights as a file holds them.
template <WeightScalar From>
std::vector<std::byte> weight_bytes(std::span<const From> from, Dtype dtype) {
  return with_weight_scalar(dtype, [&]<class To>(To value) {
    std::vector<std::byte> bytes(from.size() * sizeof(To));
    for (std::size_t i = 0; i < from.size(); ++i) {
      value = convert<To>(from[i]);
      std::memcpy(bytes.data() + i * sizeof(To), &value, sizeof(To));
    }
    return bytes;
  });
}

/// The place of the first weight in a file's bytes that is not finite; nothing where all are, or where they
/// are no floating-point numbers.
inline std::optional<std::size_t> first_not_finite(Dtype dtype, std::span<const std::byte> bytes) {
  if (!is_weight(dtype)) return std::nullopt;
  return with_weight_scalar(dtype, [&]<class From>(From value) -> std::optional<std::size_t> {
    const std::size_t size = bytes.size() / sizeof(From);
    constexpr std::size_t part = 512;  // looked at as a whole: numbers that are not finite are rare
    const auto finite = [&](std::size_t i) {
      std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
      return std::isfinite(convert<double>(value));
    };
    for (std::size_t begin = 0; begin < size; begin += part) {
      const std::size_t end = std::min(size, begin + part);
      bool all = true;
      for (std::size_t i = begin; i < end; ++i) all = finite(i) && all;
      for (std::size_t i = begin; i < end && !all; ++i)
        if (!finite(i)) return i;
    }
    return std::nullopt;
  });
}

/// The bytes of a tensor's weights, or of a piece from element `first` on, as a file is to hold them. Throws
/// `Error` with the tensor's name where one is not finite, or larger than the type can hold.
template <WeightScalar From>
std::vector<std::byte> finite_weight_bytes(std::string_view tensor, std::span<const From> from, Dtype dtype,
                                           std::size_t first = 0) {
  std::vector<std::byte> bytes = weight_bytes(from, dtype);
  if (const std::optional<std::size_t> at = first_not_finite(dtype, bytes)) {
    const auto value = convert<double>(from[*at]);
    fail("tensor ", tensor, " cannot be written as ", to_string(dtype), ": element ", first + *at, " is ",
         value,
         std::isfinite(value) ? dtype == Dtype::f16 ? ", beyond the largest number, 65504; take BF16 or F32"
                                                    : ", beyond the largest number; take a wider type"
                              : "");
  }
  return bytes;
}

}  // namespace midus
