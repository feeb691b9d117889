// The learning rate of every step.
#pragma once

#include <cassert>
#include <cmath>
#include <numbers>
#include <string_view>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"

namespace midus {

/// How the rate falls at the end of a run. p goes from 0 to 1 over the falling steps.
enum class Decay {
  cosine,         ///< (1 + cos πp) / 2
  linear,         ///< 1 − p
  one_minus_sqrt  ///< 1 − √p (Hägele et al. 2024, arXiv 2405.18392)
};

/// "cosine", "linear", "1-sqrt": as options and files spell it.
constexpr std::string_view name_of(Decay decay) {
  return decay == Decay::cosine ? "cosine" : decay == Decay::linear ? "linear" : "1-sqrt";
}

/// The inverse of `name_of`.
inline Decay decay_from_name(std::string_view name) {
  for (const Decay decay : {Decay::cosine, Decay::linear, Decay::one_minus_sqrt})
    if (name == name_of(decay)) return decay;
  fail("unknown schedule \"", name, "\"; expected cosine, linear or 1-sqrt");
}

/// Warm-up, a constant part, and a fall to a floor. A function of the step's number and the number of steps
/// alone: nothing to save, so a resumed run has the same rates bit for bit.
///
/// With S = steps, w = warmup, D = decay_steps, f = floor, the update with index s = 0 ... S − 1 has the rate
///     peak · (s + 1) / w                     for s < w           (the last warm-up step has the peak)
///     peak                                   for w ≤ s < S − D
///     peak · (f + (1 − f) · shape(p))        for s ≥ S − D,      p = (s − (S − D)) / D
/// So the fall begins at the peak, and the last step lies just above the floor, which step S would have: with
/// floor 0 no step is wasted on a rate of zero. Warm-up and cosine: the defaults. "Warm-up, stable, decay"
/// (WSD): `.decay = Decay::linear, .decay_steps = 200`. Constant: `.decay_steps = 0`.
struct Schedule {
  static constexpr Index after_warmup = -1;

  Decay decay = Decay::cosine;
  Index warmup = 0;                  ///< w
  Index decay_steps = after_warmup;  ///< D; `after_warmup`: all S − w
  double floor = 0.1;                ///< f, a share of the peak

  bool operator==(const Schedule&) const = default;

  /// Throws `Error` where a run of `steps` cannot have this schedule.
  void check(Index steps) const {
    if (steps < 1) fail("schedule: the number of steps must be at least 1, found ", steps);
    if (warmup < 0) fail("schedule: the warm-up must be at least 0 steps, found ", warmup);
    if (warmup > steps)
      fail("schedule: the warm-up of ", warmup, " steps is longer than the run of ", steps, " steps");
    if (decay_steps < after_warmup)
      fail("schedule: the number of decay steps must be at least 0, found ", decay_steps);
    if (decay_steps > steps - warmup)
      fail("schedule: ", warmup, " warm-up and ", decay_steps, " decay steps do not fit into a run of ",
           steps, " steps");
    if (!(floor >= 0 && floor <= 1))  // refuses NaN
      fail("schedule: the floor is a share of the peak rate from 0 to 1, found ", floor);
  }

  /// The rate of update `step` (0-based) of `steps`. Not inlined: the compiler may contract a product and a
  /// sum in one caller and not in another, and the rates would differ in their last bit.
  [[gnu::noinline]] double rate(Index step, Index steps, double peak) const {
    assert(step >= 0);
    if (step < warmup) return peak * (static_cast<double>(step + 1) / static_cast<double>(warmup));
    const Index falling = decay_steps == after_warmup ? steps - warmup : decay_steps;
    if (falling <= 0 || step < steps - falling) return peak;
    if (step >= steps) return peak * floor;
    const double p = static_cast<double>(step - (steps - falling)) / static_cast<double>(falling);
    return peak * (floor + (1 - floor) * shape(p));
  }

 private:
  double shape(double p) const {
    if (decay == Decay::cosine) return (1 + std::cos(std::numbers::pi * p)) / 2;
    return decay == Decay::linear ? 1 - p : 1 - std::sqrt(p);
  }
};

}  // namespace midus
