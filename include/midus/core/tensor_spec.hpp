// What a tensor of a model is: said once, and read by layers, files, up-scaling and training.
#pragma once

#include <cassert>
#include <cmath>
#include <initializer_list>
#include <string_view>

#include "midus/core/shape.hpp"

namespace midus {

/// What a parameter does in its model. Everything that treats parameters unlike (weight decay, counted
/// arithmetic, first values, analyses) asks for this, and never for a name.
enum class Role {
  matrix,       ///< activations are multiplied with it
  output,       ///< a matrix that writes to the residual stream
  head_output,  ///< [H,...]: all that head h of a memory reads passes h's part; zero: the head adds nothing
  keys,         ///< sub-keys of a look-up, multiplied with queries
  norm,         ///< the scale of a normalisation
  embedding,    ///< rows that tokens look up; in a tied model the head's matrix too
  table         ///< rows that a memory looks up: its values
};

/// Not touched by weight decay: a slot that is rarely read should not be forgotten for that.
constexpr bool is_spared_decay(Role role) { return role == Role::norm || role == Role::table; }

/// Every token is multiplied with it: it counts as arithmetic.
constexpr bool is_product(Role role) {
  return role != Role::norm && role != Role::embedding && role != Role::table;
}

/// The values that a tensor of an inserted block starts with.
struct Start {
  enum class Kind {
    copy,    ///< those of the same tensor in the layer that the block precedes
    zero,    ///< zeros
    normal,  ///< N(0, spread²)
    uniform  ///< U(-spread, spread)
  };
  Kind kind = Kind::copy;
  double scale = 0;
  Index fan_in = 0;  ///< where it is given, the spread is scale / √fan_in

  static constexpr Start copy() { return {}; }
  static constexpr Start zero() { return {Kind::zero}; }
  static constexpr Start normal(double deviation) { return {Kind::normal, deviation}; }
  static constexpr Start uniform(double bound) { return {Kind::uniform, bound}; }
  /// N(0, 1/fan_in): what is multiplied with it keeps its size.
  static constexpr Start normal_by(Index fan_in) { return {Kind::normal, 1, fan_in}; }
  /// U(±1/√fan_in).
  static constexpr Start uniform_by(Index fan_in) { return {Kind::uniform, 1, fan_in}; }

  /// The standard deviation, or the bound.
  double spread() const { return fan_in > 0 ? scale / std::sqrt(static_cast<double>(fan_in)) : scale; }

  constexpr bool operator==(const Start&) const = default;
};

/// One tensor of a layer. A layer makes its parameters of these; a file's reader, who knows the sizes as
/// numbers only, asks for the same.
struct TensorSpec {
  static constexpr int max_rank = 4;

  std::string_view name;  ///< within its layer, in memory that lives as long as the program
  Index extents[max_rank]{};
  int rank = 0;
  Role role = Role::matrix;
  Start start{};

  constexpr TensorSpec(std::string_view name_, std::initializer_list<Index> extents_,
                       Role role_ = Role::matrix, Start start_ = {})
      : name(name_), role(role_), start(start_) {
    assert(extents_.size() >= 1 && extents_.size() <= max_rank);
    for (const Index extent : extents_) extents[rank++] = extent;
  }

  template <int Rank>
  constexpr Shape<Rank> shape() const {
    assert(Rank == rank);
    Shape<Rank> shape{};
    for (int axis = 0; axis < Rank; ++axis) shape[axis] = extents[axis];
    return shape;
  }

  constexpr bool operator==(const TensorSpec& other) const {
    for (int axis = 0; axis < max_rank; ++axis)
      if (extents[axis] != other.extents[axis]) return false;
    return name == other.name && rank == other.rank && role == other.role && start == other.start;
  }
};

}  // namespace midus
