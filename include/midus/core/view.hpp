// A tensor that somebody else owns.
#pragma once

#include <cassert>
#include <type_traits>

#include "midus/core/shape.hpp"

namespace midus {

/// A contiguous row-major tensor in memory that it does not own: a pointer and extents, passed by value.
/// `View<const T, R>` reads, `View<T, R>` writes. A default-made view is *empty*: a gradient view that is
/// empty says that its parameter is frozen.
template <class T, int Rank>
class View {
 public:
  using Element = T;
  static constexpr int rank = Rank;

  constexpr View() = default;
  MIDUS_HOST_DEVICE constexpr View(T* data, const Shape<Rank>& shape) : data_(data), shape_(shape) {}

  /// A view that may write is a view that may read.
  template <class U>
  requires std::is_same_v<T, const U> MIDUS_HOST_DEVICE constexpr View(const View<U, Rank>& other)
      : data_(other.data()), shape_(other.shape()) {}

  MIDUS_HOST_DEVICE constexpr T* data() const { return data_; }
  MIDUS_HOST_DEVICE constexpr const Shape<Rank>& shape() const { return shape_; }
  MIDUS_HOST_DEVICE constexpr Index extent(int axis) const { return shape_[axis]; }
  MIDUS_HOST_DEVICE constexpr Index size() const { return data_ == nullptr ? 0 : shape_.size(); }
  MIDUS_HOST_DEVICE constexpr bool empty() const { return data_ == nullptr; }

  /// The element at (i, j, ...): as many indices as the view has axes.
  template <class... Indices>
  MIDUS_HOST_DEVICE constexpr T& operator()(Indices... indices) const {
    static_assert(sizeof...(Indices) == Rank, "View: give one index per axis");
    return data_[offset(indices...)];
  }

  /// Where the elements under the leading indices start: `row(i)` of a matrix, `row(b, t)` of [B,T,d].
  template <class... Indices>
  MIDUS_HOST_DEVICE constexpr T* row(Indices... leading) const {
    static_assert(sizeof...(Indices) >= 1 && sizeof...(Indices) <= Rank, "View: too many indices");
    Index at = offset(leading...);
    for (int axis = static_cast<int>(sizeof...(Indices)); axis < Rank; ++axis) at *= shape_[axis];
    return data_ + at;
  }

  /// The same elements under other extents of the same size.
  template <int NewRank>
  MIDUS_HOST_DEVICE constexpr View<T, NewRank> reshape(const Shape<NewRank>& shape) const {
    assert(empty() || shape.size() == size());
    return {data_, shape};
  }
  MIDUS_HOST_DEVICE constexpr View<T, 1> flat() const { return reshape(Shape<1>{{shape_.size()}}); }

  /// Rows begin, begin + 1, ..., begin + count - 1 of the first axis.
  MIDUS_HOST_DEVICE constexpr View slice(Index begin, Index count) const {
    assert(begin >= 0 && count >= 0 && begin + count <= shape_[0]);
    Shape<Rank> part = shape_;
    part[0] = count;
    Index stride = 1;
    for (int axis = 1; axis < Rank; ++axis) stride *= shape_[axis];
    return {empty() ? nullptr : data_ + begin * stride, part};
  }

 private:
  template <class... Indices>
  MIDUS_HOST_DEVICE constexpr Index offset(Indices... indices) const {
    const Index all[] = {static_cast<Index>(indices)...};
    Index at = 0;
    for (int axis = 0; axis < static_cast<int>(sizeof...(Indices)); ++axis) {
      assert(all[axis] >= 0 && all[axis] < shape_[axis]);
      at = at * shape_[axis] + all[axis];
    }
    return at;
  }

  T* data_ = nullptr;
  Shape<Rank> shape_{};
};

}  // namespace midus
