// What an op reads a weight through.
#pragma once

#include "midus/core/dtype.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// A weight to read: values in the compute type `S`, or, when the parameter is frozen, stored as bfloat16.
/// Which of the two is data and not a type, since freezing is a decision of the run: only the forms that read
/// weights look.
template <class S, int Rank>
class WeightView {
 public:
  constexpr WeightView() = default;
  MIDUS_HOST_DEVICE constexpr WeightView(View<const S, Rank> full)
      : full_(full.data()), shape_(full.shape()) {}
  MIDUS_HOST_DEVICE constexpr WeightView(View<S, Rank> full) : full_(full.data()), shape_(full.shape()) {}
  MIDUS_HOST_DEVICE constexpr WeightView(View<const bfloat16, Rank> half)
      : half_(half.data()), shape_(half.shape()) {}
  MIDUS_HOST_DEVICE constexpr WeightView(View<bfloat16, Rank> half)
      : half_(half.data()), shape_(half.shape()) {}

  MIDUS_HOST_DEVICE constexpr bool is_bfloat16() const { return half_ != nullptr; }
  MIDUS_HOST_DEVICE constexpr bool empty() const { return full_ == nullptr && half_ == nullptr; }
  MIDUS_HOST_DEVICE constexpr const Shape<Rank>& shape() const { return shape_; }
  MIDUS_HOST_DEVICE constexpr Index extent(int axis) const { return shape_[axis]; }
  MIDUS_HOST_DEVICE constexpr Index size() const { return empty() ? 0 : shape_.size(); }

  /// The values, where they are held in the compute type.
  MIDUS_HOST_DEVICE constexpr View<const S, Rank> full() const {
    assert(!is_bfloat16());
    return {full_, shape_};
  }

  /// The values, where they are stored as bfloat16: for forms that widen in registers.
  MIDUS_HOST_DEVICE constexpr View<const bfloat16, Rank> half() const {
    assert(is_bfloat16());
    return {half_, shape_};
  }

  /// Element `i` of the flat tensor, widened.
  MIDUS_HOST_DEVICE constexpr S at(Index i) const {
    return is_bfloat16() ? static_cast<S>(half_[i].to_float()) : full_[i];
  }

  /// Elements begin ... begin + count - 1 of the flat tensor in the compute type: in place where they are
  /// stored so, else widened into `scratch`, which has room for `count`.
  const S* widen(Index begin, Index count, S* scratch) const {
    if (!is_bfloat16()) return full_ + begin;
    for (Index i = 0; i < count; ++i) scratch[i] = static_cast<S>(half_[begin + i].to_float());
    return scratch;
  }

  template <int NewRank>
  MIDUS_HOST_DEVICE constexpr WeightView<S, NewRank> reshape(const Shape<NewRank>& shape) const {
    if (is_bfloat16()) return View<const bfloat16, Rank>(half_, shape_).reshape(shape);
    return View<const S, Rank>(full_, shape_).reshape(shape);
  }

 private:
  const S* full_ = nullptr;
  const bfloat16* half_ = nullptr;
  Shape<Rank> shape_{};
};

}  // namespace midus
