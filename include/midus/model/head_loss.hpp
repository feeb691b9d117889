// A language model's last step: the output head and the cross-entropy, in one.
#pragma once

#include <algorithm>

#include "midus/core/parameter.hpp"
#include "midus/layers/layer.hpp"
#include "midus/model/batch.hpp"
#include "midus/ops/cross_entropy.hpp"
#include "midus/ops/gemm.hpp"

namespace midus {

namespace detail {

/// A block of rows at a time, so that the logits of the whole batch never exist at once.
template <Device D>
void head_losses(D& device, const Parameter<D, 2>& head, In<D, 2> x, View<const std::int32_t, 1> targets,
                 Out<D, 1> losses, Out<D, 2> dx, double scale, bool gradients) {
  using S = typename D::Scalar;
  const Index rows = x.extent(0), vocab = head.shape[0];
  const Index chunk = std::clamp<Index>((Index{1} << 24) / vocab, 128, 1024);
  for (Index begin = 0; begin < rows; begin += chunk) {
    const Index count = std::min(chunk, rows - begin);
    const auto scope = device.scope();
    const auto logits = device.allocate(Shape{count, vocab});
    const auto part = x.slice(begin, count);
    run(device, Gemm<S>{.x = part, .w = head.value, .y = logits});
    run(device, CrossEntropy<S>{.logits = logits,
                                .targets = targets.slice(begin, count),
                                .losses = losses.slice(begin, count),
                                .dlogits = gradients ? logits : Out<D, 2>{},
                                .scale = scale});
    if (!gradients) continue;
    if (!head.frozen()) run(device, GemmBackwardWeight<S>{.dy = logits, .x = part, .dw = head.grad});
    if (!dx.empty())
      run(device, GemmBackwardInput<S>{.dy = logits, .w = head.value, .dx = dx.slice(begin, count)});
  }
}

}  // namespace detail

/// The losses [R] of the rows of x [R,d] under the head [V,d] with targets [R], 0 where a target is ignored.
template <Device D>
void head_losses(D& device, const Parameter<D, 2>& head, In<D, 2> x, View<const std::int32_t, 1> targets,
                 Out<D, 1> losses) {
  detail::head_losses(device, head, x, targets, losses, {}, 1, false);
}

/// Σ losses, and the gradients of scale · Σ losses: adds the head's to its own unless it is frozen, and
/// writes that of x to dx [R,d] unless that is empty.
template <Device D>
LossSum head_loss(D& device, const Parameter<D, 2>& head, In<D, 2> x, View<const std::int32_t, 1> targets,
                  Out<D, 2> dx, double scale) {
  const auto losses = device.allocate(Shape{x.extent(0)});
  detail::head_losses(device, head, x, targets, losses, dx, scale, true);
  return {device.sum(losses),
          counted_targets(View<const std::int32_t, 2>(targets.data(), Shape{Index{1}, targets.size()}))};
}

}  // namespace midus
