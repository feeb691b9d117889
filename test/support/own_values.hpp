// Value policies as users write them: not in the library.
#pragma once

#include <array>
#include <string_view>

#include "midus/midus.hpp"

namespace midus::test {

/// HIVE, whose tensors have other names.
template <int Rank>
struct BankValue {
  static constexpr std::string_view name = "banked";
  static constexpr int rank = Rank;

  static constexpr std::array<TensorSpec, 2> tensors(const ValueSizes& m) {
    auto specs = FactorizedValue<Rank>::tensors(m);
    specs[0].name = "bank", specs[1].name = "expansion";
    return specs;
  }

  template <class Device, int Slots, int Heads, int HeadWidth>
  struct Layer : FactorizedValue<Rank>::template Layer<Device, Slots, Heads, HeadWidth> {
    static constexpr auto specs = tensors({Slots, Heads, HeadWidth, Rank});
    Layer() { this->values = specs[0], this->value_proj = specs[1]; }
  };
};

/// DenseValue's tensors, and half of what it reads. The tests run it on a host's memory.
struct HalvedValue {
  static constexpr std::string_view name = "halved";
  static constexpr int rank = 0;
  static constexpr auto tensors(const ValueSizes& m) { return DenseValue::tensors(m); }

  template <class Device, int Slots, int Heads, int HeadWidth>
  struct Layer : DenseValue::Layer<Device, Slots, Heads, HeadWidth> {
    using Dense = DenseValue::Layer<Device, Slots, Heads, HeadWidth>;
    using typename Dense::Saved;

    void forward(Device& device, const MemoryRead<Device>& read, Saved& saved, Out<Device, 3> y) const {
      Dense::forward(device, halved(device, read), saved, y);
    }
    void backward(Device& device, const MemoryRead<Device>& read, const Saved& saved, In<Device, 3> dy,
                  Out<Device, 3> dweights) const {
      Dense::backward(device, halved(device, read), saved, dy, dweights);
      if (device.dry()) return;
      for (Index i = 0; i < dweights.size(); ++i) dweights.data()[i] /= 2;
    }

   private:
    static MemoryRead<Device> halved(Device& device, MemoryRead<Device> read) {
      const auto weights = device.allocate(read.weights.shape());
      if (!device.dry())
        for (Index i = 0; i < weights.size(); ++i) weights.data()[i] = read.weights.data()[i] / 2;
      read.weights = weights;
      return read;
    }
  };
};

}  // namespace midus::test
