// Small models whose shape is right but for what one file of this folder gets wrong. With -DMIDUS_FIXED the
// same file has it right.
#pragma once

#include <type_traits>

#include "midus/model/language_model.hpp"

namespace midus::test {

#ifdef MIDUS_FIXED
inline constexpr bool fixed = true;
#else
inline constexpr bool fixed = false;
#endif
constexpr int number(int wrong, int right) { return fixed ? right : wrong; }
template <class Wrong, class Right>
using Part = std::conditional_t<fixed, Right, Wrong>;

/// A device for types alone: nothing runs on it.
struct AnyDevice {
  using Scalar = float;
  template <int Rank>
  View<float, Rank> allocate(Shape<Rank> shape);
  template <class T, int Rank>
  View<T, Rank> allocate_as(Shape<Rank> shape);
  int scope();
  template <int Rank>
  void fill(View<float, Rank> x, float value);
  template <int Rank>
  void copy(View<const float, Rank> from, View<float, Rank> to);
  double sum(View<const float, 1> x);
  std::size_t measure(auto&& f);
  bool dry();
};

/// Makes the compiler look at all of a model.
template <class Shape>
inline constexpr bool compiles = sizeof(LanguageModel<Shape, AnyDevice>) > 0;

template <int D, class Heads>
using Base = Llama<Vocab<32>, Width<D>, Layers<3>, Heads, SwiGlu<24>>;
template <class Memory, class Where = BeforeLayers<0, 2>>
using Deeper = Upscaled<Base<16, Attention<4>>, MemoryBlock<Memory>, Where>;
using GoodMemory = HeadwiseMemory<4, 6, 3, FactorizedValue<5>>;

}  // namespace midus::test
