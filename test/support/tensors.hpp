// Tensors of a test: the same numbers on every device and scalar.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "midus/core/random.hpp"
#include "reference/device.hpp"

namespace midus {

/// What a case kept of one tensor.
struct Result {
  std::vector<double> values;
  std::vector<double> imaginary;  // empty on a real device
  std::vector<unsigned char> bytes;
  double terms = 1;  // the length of the sums that it consists of
  double size = 0;   // of the numbers that were summed, where the sums may cancel

  bool same_bits(const Result& other) const { return bytes == other.bytes; }
};
using Results = std::map<std::string, Result>;

/// One element that gets an imaginary part: the direction of a complex step.
struct Perturbation {
  std::string name;
  Index index = 0;
  static constexpr double step = 1e-30;
};

/// A device and the tensors of a case on it. A *case* is an object that is called with a `Tensors<Device>`:
/// it makes its inputs, runs ops, and keeps what they wrote. All numbers are representable as bfloat16.
template <class D>
class Tensors {
 public:
  using S = typename D::Scalar;

  D device;
  bool bfloat16_weights = false;
  Perturbation perturbation;

  template <class... Arguments>
  explicit Tensors(Arguments... arguments) : device(arguments...) {}

  /// Normal random numbers that belong to `name`, times `scale`.
  template <int Rank>
  View<S, Rank> random(const std::string& name, const Shape<Rank>& shape, double scale = 1) {
    return make(name, shape, [scale, random = Random(1, name)](Index i) { return scale * random.normal(i); });
  }
  /// f(flat index).
  template <int Rank, class F>
  View<S, Rank> make(const std::string& name, const Shape<Rank>& shape, F&& f) {
    const View<S, Rank> x = device.allocate(shape);
    if (device.dry()) return x;
    for (Index i = 0; i < x.size(); ++i) {
      x.data()[i] = static_cast<S>(bfloat16::from(static_cast<float>(f(i))).to_float());
      if constexpr (!std::is_arithmetic_v<S>)
        if (name == perturbation.name && i == perturbation.index) x.data()[i] += S(0, Perturbation::step);
    }
    return x;
  }
  /// A weight with random numbers, in the storage that the test asks for.
  template <int Rank>
  WeightView<S, Rank> weight(const std::string& name, const Shape<Rank>& shape, double scale = 1) {
    const View<S, Rank> full = random(name, shape, scale);
    if (!bfloat16_weights) return full;
    const auto half = device.template allocate_as<bfloat16>(shape);
    for (Index i = 0; i < half.size(); ++i)
      half.data()[i] = bfloat16::from(static_cast<float>(real_part(full.data()[i])));
    return half;
  }
  template <int Rank, class F>
  View<std::int32_t, Rank> integers(const Shape<Rank>& shape, F&& f) {
    const auto x = device.template allocate_as<std::int32_t>(shape);
    if (!device.dry())
      for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<std::int32_t>(f(i));
    return x;
  }
  /// Memory that an op must fill: NaN until then.
  template <int Rank>
  View<S, Rank> output(const Shape<Rank>& shape) {
    return output_as<S>(shape);
  }
  template <class T, int Rank>
  View<T, Rank> output_as(const Shape<Rank>& shape) {
    const auto x = device.template allocate_as<T>(shape);
    if (!device.dry()) std::uninitialized_fill_n(x.data(), x.size(), poison<T>());
    return x;
  }

  /// Notes what a tensor holds now. `terms`: the length of the sums that its elements are; `size`: of what is
  /// summed, where sums may cancel.
  template <class T, int Rank>
  void keep(const std::string& name, const View<T, Rank>& x, Index terms = 1, double size = 0) {
    if (device.dry()) return;
    Result& result = results_[name];
    result.terms = static_cast<double>(terms);
    result.size = size;
    result.bytes.resize(static_cast<std::size_t>(x.size()) * sizeof(T));
    if (x.size() > 0) std::memcpy(result.bytes.data(), x.data(), result.bytes.size());
    for (Index i = 0; i < x.size(); ++i) {
      result.values.push_back(real_part(x.data()[i]));
      if constexpr (!std::is_arithmetic_v<T>) result.imaginary.push_back(x.data()[i].imag());
    }
  }
  const Results& results() const { return results_; }

 private:
  Results results_;
};

}  // namespace midus
