// The angles of the rotary position embedding.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/device/buffer.hpp"
#include "midus/device/device.hpp"

namespace midus {

/// The `llama3` scaling of inverse frequencies: long wavelengths are stretched by `factor`, short ones kept.
struct Llama3Scaling {
  double factor = 8, low_freq_factor = 1, high_freq_factor = 4;
  double original_max_position_embeddings = 8192;
  bool operator==(const Llama3Scaling&) const = default;
};

/// What config.json says of the rotary embedding.
struct RopeSettings {
  double theta = 10000;
  std::optional<Llama3Scaling> llama3;
  bool operator==(const RopeSettings&) const = default;
};

/// θ^(−2i/D) for i < D/2, scaled where `settings` ask for it (Llama 3.1's rule, docs/method.md), in double.
inline std::vector<double> inverse_frequencies(const RopeSettings& settings, int head_dim) {
  std::vector<double> frequencies;
  for (int i = 0; i < head_dim / 2; ++i) {
    double frequency = std::pow(settings.theta, -2.0 * i / head_dim);
    if (settings.llama3) {
      const Llama3Scaling& scaling = *settings.llama3;
      const double original = scaling.original_max_position_embeddings;
      const double wavelength = 2 * std::numbers::pi / frequency;
      if (wavelength > original / scaling.low_freq_factor) {
        frequency /= scaling.factor;
      } else if (wavelength >= original / scaling.high_freq_factor) {
        const double smooth = (original / wavelength - scaling.low_freq_factor) /
                              (scaling.high_freq_factor - scaling.low_freq_factor);
        frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency;
      }
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

/// cos and sin of every position's angles, [P,D/2] each. Angles are formed in double and rounded once: a
/// 16-bit or 32-bit angle is noise at large positions.
template <class Device>
class RotaryTable {
  using S = typename Device::Scalar;

 public:
  RotaryTable() = default;
  RotaryTable(const RopeSettings& settings, int head_dim)
      : frequencies_(inverse_frequencies(settings, head_dim)) {}

  /// Makes the table cover positions 0 ... positions - 1, and twice what it did at least, so that a text
  /// which grows by a token at a time does not make it anew each time.
  void cover(Index positions) {
    if (positions <= positions_) return;
    positions = std::max(positions, 2 * positions_);
    const auto half = static_cast<Index>(frequencies_.size());
    cos_ = Buffer<Device, S>(positions * half);
    sin_ = Buffer<Device, S>(positions * half);
    for (Index p = 0; p < positions; ++p)
      for (Index i = 0; i < half; ++i) {
        const double angle = static_cast<double>(p) * frequencies_[static_cast<std::size_t>(i)];
        cos_.view()(p * half + i) = static_cast<S>(std::cos(angle));
        sin_.view()(p * half + i) = static_cast<S>(std::sin(angle));
      }
    positions_ = positions;
  }

  View<const S, 2> cos() const { return table(cos_); }
  View<const S, 2> sin() const { return table(sin_); }

 private:
  View<const S, 2> table(const Buffer<Device, S>& buffer) const {
    return {buffer.view().data(), Shape{positions_, static_cast<Index>(frequencies_.size())}};
  }

  std::vector<double> frequencies_;
  Buffer<Device, S> cos_, sin_;
  Index positions_ = 0;
};

}  // namespace midus
