// A tensor that training may change.
#pragma once

#include <string_view>

#include "midus/core/tensor_spec.hpp"
#include "midus/core/weight_view.hpp"

namespace midus {

/// One named tensor of a model. The model owns the memory (`model/parameter_store.hpp`) and binds the views;
/// until then only what the tensor is is known. `grad` is empty while the parameter is frozen: no memory, no
/// work.
template <class Device, int Rank>
struct Parameter {
  using Scalar = typename Device::Scalar;
  static constexpr int rank = Rank;

  std::string_view name;  ///< within its layer
  Shape<Rank> shape;
  Role role;
  Start start;
  WeightView<Scalar, Rank> value{};  ///< what ops read
  View<Scalar, Rank> master{};       ///< the same values to write; empty when they are stored as bfloat16
  View<Scalar, Rank> grad{};         ///< backward adds to it; empty: frozen

  constexpr Parameter(const TensorSpec& spec)
      : name(spec.name), shape(spec.shape<Rank>()), role(spec.role), start(spec.start) {}

  bool frozen() const { return grad.empty(); }
};

}  // namespace midus
