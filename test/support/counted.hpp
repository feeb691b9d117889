// A device that counts what is asked of another one.
#pragma once

#include <map>
#include <string>
#include <typeindex>
#include <utility>

#include "midus/midus.hpp"

namespace midus::test {

/// Wraps a device; `counts[typeid(Gemm<float>)]` is how often that op ran. One overload of `run` serves all
/// ops.
template <class Inner>
struct Counted {
  using Scalar = typename Inner::Scalar;

  Inner inner{};
  std::map<std::type_index, int> counts;

  template <int Rank>
  auto allocate(const Shape<Rank>& shape) {
    return inner.allocate(shape);
  }
  template <class T, int Rank>
  auto allocate_as(const Shape<Rank>& shape) {
    return inner.template allocate_as<T>(shape);
  }
  auto scope() { return inner.scope(); }
  template <class T, int Rank>
  void fill(View<T, Rank> x, std::type_identity_t<T> value) {
    inner.fill(x, value);
  }
  template <class T, int Rank>
  void copy(View<const T, Rank> from, View<T, Rank> to) {
    inner.copy(from, to);
  }
  double sum(View<const Scalar, 1> x) const { return inner.sum(x); }
  template <class F>
  std::size_t measure(F&& f) {
    return inner.measure(std::forward<F>(f));
  }
  bool dry() const { return inner.dry(); }

  template <class Op>
  int count() const {
    const auto found = counts.find(typeid(Op));
    return found == counts.end() ? 0 : found->second;
  }
};

template <class Inner, class Op>
void run(Counted<Inner>& device, const Op& op) {
  ++device.counts[typeid(Op)];
  run(device.inner, op);
}

}  // namespace midus::test
