// A device of plain loops on any scalar: the readable specification of every op, and the truth of the tests.
#pragma once

#include <algorithm>
#include <complex>
#include <limits>
#include <memory>
#include <type_traits>

#include "midus/device/arena.hpp"
#include "midus/device/device.hpp"

namespace midus {

/// The real part as a double: comparisons and sums of complex numbers use it.
template <class S>
double real_part(const S& x) {
  if constexpr (std::is_arithmetic_v<S>)
    return static_cast<double>(x);
  else
    return static_cast<double>(x.real());
}

/// What memory holds before it is written: NaN, or the integer that is no index.
template <class T>
T poison() {
  if constexpr (std::is_same_v<T, bfloat16>)
    return bfloat16::from(std::numeric_limits<float>::quiet_NaN());
  else if constexpr (std::is_integral_v<T>)
    return std::numeric_limits<T>::min();
  else
    return T(std::numeric_limits<double>::quiet_NaN());
}

/// Computes in `S`: float, double, or std::complex<double>, whose imaginary part carries a derivative
/// (complex step: f(x + iε) = f(x) + iε f'(x) to rounding, with no difference to cancel). One thread, no
/// library.
template <class S>
class Reference {
 public:
  using Scalar = S;

  template <int Rank>
  View<S, Rank> allocate(const Shape<Rank>& shape) {
    return allocate_as<S>(shape);
  }
  template <class T, int Rank>
  View<T, Rank> allocate_as(const Shape<Rank>& shape) {
    static_assert(std::is_trivially_copyable_v<T>);
    const View<T, Rank> x(
        static_cast<T*>(arena_.allocate(static_cast<std::size_t>(shape.size()) * sizeof(T))), shape);
    work([&] { std::uninitialized_fill_n(x.data(), x.size(), poison<T>()); });
    return x;
  }
  Arena::Scope scope() { return Arena::Scope(arena_); }

  /// Calls `f`, unless the device is dry: a form touches memory in here and nowhere else.
  template <class F>
  void work(F&& f) {
    if (!dry_) f();
  }

  template <class T, int Rank>
  void fill(View<T, Rank> x, std::type_identity_t<T> value) {
    work([&] { std::fill_n(x.data(), x.size(), value); });
  }
  template <class T, int Rank>
  void copy(View<const T, Rank> from, View<T, Rank> to) {
    assert(from.shape() == to.shape());
    work([&] { std::copy_n(from.data(), from.size(), to.data()); });
  }

  /// The sum of the real parts.
  template <class T>
  double sum(View<T, 1> x) const {
    double total = 0;
    if (!dry_)
      for (Index i = 0; i < x.size(); ++i) total += real_part(x(i));
    return total;
  }

  template <class F>
  std::size_t measure(F&& f) {
    const auto scope = this->scope();
    const std::size_t before = arena_.used();
    arena_.reset_peak();
    const Dry dry(*this);
    f();
    return arena_.peak() - before;
  }
  bool dry() const { return dry_; }
  std::size_t peak_bytes() const { return arena_.peak(); }

 private:
  struct Dry {
    explicit Dry(Reference& d) : device(d) { set(true); }
    Dry(const Dry&) = delete;
    Dry& operator=(const Dry&) = delete;
    ~Dry() { set(false); }
    void set(bool dry) {
      device.dry_ = dry;
      device.arena_.set_dry(dry);
    }
    Reference& device;
  };

  Arena arena_;
  bool dry_ = false;
};

static_assert(Device<Reference<float>> && Device<Reference<double>> &&
              Device<Reference<std::complex<double>>>);

}  // namespace midus
