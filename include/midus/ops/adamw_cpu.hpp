// Cpu form of ops/adamw.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "midus/device/cpu.hpp"
#include "midus/device/simd.hpp"
#include "midus/ops/adamw.hpp"

namespace midus {
namespace detail {

/// The numbers of a step, in every lane.
template <class S>
struct AdamwNumbers {
  using P = simd::Packet<S>;
  P grad_scale, beta1, beta2, rest1, rest2, epsilon, keep, rate, spread;

  explicit AdamwNumbers(const AdamwStep<S>& op)
      : grad_scale(constant(op.grad_scale)),
        beta1(constant(op.beta1)),
        beta2(constant(op.beta2)),
        rest1(constant(1 - op.beta1)),
        rest2(constant(1 - op.beta2)),
        epsilon(constant(op.epsilon)),
        keep(constant(1 - op.rate * op.decay)),
        rate(constant(op.rate / (1 - std::pow(op.beta1, static_cast<double>(op.step))))),
        spread(constant(1 / std::sqrt(1 - std::pow(op.beta2, static_cast<double>(op.step))))) {}

 private:
  static P constant(double x) { return simd::broadcast(static_cast<S>(x)); }
};

/// Writes what the step makes of `count` elements from `first` on, to the beginning of the three arrays.
template <class S>
[[gnu::always_inline]] inline void adamw_elements(const AdamwStep<S>& op, const AdamwNumbers<S>& numbers,
                                                  Index first, Index count, S* to_values, S* to_ms,
                                                  S* to_vs) {
  const AdamwNumbers<S> by = numbers;  // in registers
  const S *const grads = op.grad.data() + first, *const values = op.value.data() + first,
                 *const ms = op.exp_avg.data() + first, *const vs = op.exp_avg_sq.data() + first;
  simd::for_packets<S>(count, [&](auto at) {
    const auto g = by.grad_scale * at.load(grads);
    const auto m = simd::multiply_add(by.beta1, at.load(ms), by.rest1 * g);
    const auto v = simd::multiply_add(by.beta2, at.load(vs), by.rest2 * (g * g));
    at.store(to_ms, m);
    at.store(to_vs, v);
    const auto change = by.rate * m / simd::multiply_add(simd::square_root<S>(v), by.spread, by.epsilon);
    at.store(to_values, simd::multiply_add(at.load(values), by.keep, -change));
  });
}

}  // namespace detail

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const AdamwStep<S>& op) {
  const Index size = op.value.size();
  const detail::AdamwNumbers<S> numbers(op);
  device.parallel_for((size + adamw_tile - 1) / adamw_tile, [&](Index task, Arena&) {
    const Index first = task * adamw_tile;
    detail::adamw_elements<S>(op, numbers, first, std::min(adamw_tile, size - first), op.value.data() + first,
                              op.exp_avg.data() + first, op.exp_avg_sq.data() + first);
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const AdamwLargest<S>& op) {
  const detail::AdamwNumbers<S> numbers(op.step);
  device.parallel_for(op.largest.extent(0), [&](Index task, Arena& scratch) {
    const Index first = task * adamw_tile, count = std::min(adamw_tile, op.step.value.size() - first);
    S* const would[] = {take<S>(scratch, count), take<S>(scratch, count), take<S>(scratch, count)};
    detail::adamw_elements<S>(op.step, numbers, first, count, would[0], would[1], would[2]);
    for (Index part = 0; part < 3; ++part) {
      S largest = 0;
      for (Index i = 0; i < count; ++i) {
        const S size = std::abs(would[part][i]);
        if (!(size <= largest)) largest = std::isnan(size) ? std::numeric_limits<S>::infinity() : size;
      }
      op.largest(task, part) = static_cast<double>(largest);
    }
  });
}

}  // namespace midus
