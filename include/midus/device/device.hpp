// What a device is.
#pragma once

#include <concepts>

#include "midus/core/parameter.hpp"
#include "midus/core/run.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// What an op or a layer reads from, and writes to, on a device.
template <class Device, int Rank>
using In = View<const typename Device::Scalar, Rank>;
template <class Device, int Rank>
using Out = View<typename Device::Scalar, Rank>;

/// A device owns memory and the order of execution; layers are written against this concept alone, and ask
/// for arithmetic through `run(device, op)`. `Scalar` is the type that it computes in.
///
/// - `allocate(shape)` gives uninitialised memory that lives until the innermost enclosing `scope()` ends.
/// - `fill` and `copy` are ordered with the ops around them.
/// - `sum(x)` brings the sum of a vector to the host, in double: the way by which a loss leaves a step.
/// - `measure(f)` runs `f` without doing any work and returns the bytes that it would need at once; `dry()`
/// is true
///   meanwhile.
template <class D>
concept Device = requires(D& device, Shape<2> shape, View<typename D::Scalar, 2> x,
                          typename D::Scalar value) {
  { device.allocate(shape) } -> std::same_as<View<typename D::Scalar, 2>>;
  { device.template allocate_as<std::int32_t>(shape) } -> std::same_as<View<std::int32_t, 2>>;
  device.scope();
  device.fill(x, value);
  device.copy(View<const typename D::Scalar, 2>(x), x);
  { device.sum(View<const typename D::Scalar, 1>()) } -> std::convertible_to<double>;
  {
    device.measure([] {})
    } -> std::convertible_to<std::size_t>;
  { device.dry() } -> std::convertible_to<bool>;
};

}  // namespace midus
