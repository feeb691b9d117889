// What holds for every op, checked on a case (see tensors.hpp).
#pragma once

#include <cmath>
#include <limits>
#include <memory>

#include "midus/device/cpu.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace midus {

template <class D, class Case, class... Arguments>
Results results_of(const Case& run_case, bool bfloat16_weights, Arguments... arguments) {
  Tensors<D> tensors(arguments...);
  tensors.bfloat16_weights = bfloat16_weights;
  run_case(tensors);
  return tensors.results();
}

/// The forms of `Cpu` agree with the reference in double to rounding: an element that is a sum of n terms may
/// be off by (8 + √n) units of the largest element (or of the size that the case gives). NaN must be where
/// the reference has NaN.
template <class Device, class Case>
void check_against_reference(const Case& run_case) {
  const Results got = results_of<Device>(run_case, false, 2);
  const Results expected = results_of<Reference<double>>(run_case, false);
  REQUIRE(got.size() == expected.size());
  for (const auto& [name, reference] : expected) {
    const Result& result = got.at(name);
    REQUIRE(result.values.size() == reference.values.size());
    double largest = reference.size, worst = 0;
    for (const double x : reference.values)
      if (std::isfinite(x)) largest = std::max(largest, std::fabs(x));
    for (std::size_t i = 0; i < reference.values.size(); ++i) {
      const double a = result.values[i], b = reference.values[i];
      if (std::isnan(b) || std::isinf(b)) {
        INFO(name << "[" << i << "] is " << a << " instead of " << b);
        REQUIRE((std::isnan(b) ? std::isnan(a) : a == b));
      } else {
        worst = std::isnan(a) ? a : std::max(worst, std::fabs(a - b));
        if (std::isnan(a)) break;
      }
    }
    const double unit = static_cast<double>(std::numeric_limits<typename Device::Scalar>::epsilon());
    INFO(name << " is off by " << worst / (unit * largest) << " units of its largest element " << largest);
    CHECK(worst <= (8 + std::sqrt(reference.terms)) * unit * largest);
  }
}

inline void check_same_bits(const Results& a, const Results& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, result] : a) {
    INFO(name);
    CHECK(result.same_bits(b.at(name)));
  }
}

/// 1, 2, 3 and 8 threads, and again, give the same bits; so do weights stored as bfloat16.
template <class Device, class Case>
void check_bits(const Case& run_case) {
  const Results one = results_of<Device>(run_case, false, 1);
  for (const int threads : {2, 3, 8, 8}) {
    INFO(threads << " threads");
    check_same_bits(one, results_of<Device>(run_case, false, threads));
  }
  INFO("weights in bfloat16");
  check_same_bits(one, results_of<Device>(run_case, true, 2));
}

/// While dry an op touches nothing: the memory of this device does not exist, so a read or write would crash.
/// What it would need is what it then takes.
template <class Device, class Case>
void check_dry(const Case& run_case) {
  Tensors<Device> tensors(2);
  const std::size_t bytes = tensors.device.measure([&] { run_case(tensors); });
  CHECK(tensors.results().empty());
  run_case(tensors);
  CHECK(tensors.device.peak_bytes() == bytes);
}

/// All of the above.
template <class Device, class Case>
void check_op(const Case& run_case) {
  check_against_reference<Device>(run_case);
  check_bits<Device>(run_case);
  check_dry<Device>(run_case);
}

}  // namespace midus
