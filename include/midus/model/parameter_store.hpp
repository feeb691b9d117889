// Who owns a model's parameters and gradients.
#pragma once

#include <cassert>
#include <map>
#include <string>

#include "midus/core/error.hpp"
#include "midus/core/visit.hpp"
#include "midus/device/buffer.hpp"
#include "midus/device/device.hpp"

namespace midus {

/// One buffer of values per parameter, and one buffer for the gradients of all that train, so that zeroing
/// them is one call. Every operation is a visit of the model (`visit(f)` calls f(path, parameter) for all).
template <class Device>
class ParameterStore {
  using S = typename Device::Scalar;

 public:
  /// Gives every parameter its memory, taking over the buffers of `other` that have the same name and size.
  template <class Visit>
  void bind(Visit&& visit, ParameterStore other = {}) {
    visit([&](const Path& path, auto& parameter) {
      const Index size = parameter.shape.size();
      auto& buffer = values_[path.str()];
      const auto given = other.values_.find(path.str());
      if (given != other.values_.end() && given->second.size() == size)
        buffer = std::move(given->second);
      else
        buffer = Buffer<Device, S>(size);
      parameter.master = {buffer.view().data(), parameter.shape};
      parameter.value = parameter.master;
      parameter.grad = {};
    });
  }

  /// Makes the parameters that `wanted(name)` names trainable and all others frozen; gradients are zero.
  template <class Visit, class Wanted>
  void train(Visit&& visit, Wanted&& wanted) {
    Index total = 0;
    visit([&](const Path& path, auto& parameter) {
      if (!wanted(path.str())) return;
      if (parameter.master.empty())
        fail("cannot train ", path.str(),
             ": its values are stored as bfloat16; what trains is stored in at least "
             "32 bits (load the model without a 16-bit store for it)");
      total += padded(parameter.shape.size());
    });
    gradients_ = Buffer<Device, S>(total);
    Index at = 0;
    visit([&](const Path& path, auto& parameter) {
      parameter.grad = {};
      if (!wanted(path.str())) return;
      parameter.grad = {gradients_.view().data() + at, parameter.shape};
      at += padded(parameter.shape.size());
    });
  }

  /// Stores the frozen parameters that `wanted(name)` names as bfloat16, to nearest even, and frees their
  /// wide values.
  template <class Visit, class Wanted>
  void store_as_bfloat16(Visit&& visit, Wanted&& wanted) {
    visit([&](const Path& path, auto& parameter) {
      if (!wanted(path.str()) || !parameter.frozen() || parameter.master.empty()) return;
      const Buffer<Device, S> wide = std::move(values_.at(path.str()));
      const View<bfloat16, 1> half = narrow(path.str(), parameter);
      for (Index i = 0; i < half.size(); ++i) half(i) = bfloat16::from(narrowed(wide.view()(i)));
    });
  }

  /// Makes a frozen parameter one that is stored as bfloat16, with the values that the caller writes to the
  /// view.
  template <class Parameter>
  View<bfloat16, 1> narrow(const std::string& name, Parameter& parameter) {
    assert(parameter.frozen());
    parameter.master = {};
    values_.erase(name);
    Buffer<Device, bfloat16>& half = halves_[name] = Buffer<Device, bfloat16>(parameter.shape.size());
    parameter.value = View<const bfloat16, Parameter::rank>(half.view().data(), parameter.shape);
    return half.view();
  }

  /// All gradients, flat.
  View<S, 1> gradients() const { return gradients_.view(); }

 private:
  static float narrowed(float x) { return x; }
  static float narrowed(double x) { return narrow_to_odd(x); }  // rounded once, not twice

  /// Each gradient starts on a cache line.
  static constexpr Index padded(Index size) { return (size + 15) / 16 * 16; }

  std::map<std::string, Buffer<Device, S>> values_;
  std::map<std::string, Buffer<Device, bfloat16>> halves_;
  Buffer<Device, S> gradients_;
};

}  // namespace midus
