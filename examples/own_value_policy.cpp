// A value policy of one's own: HIVE with a learned gate per head, y_h = g_h · (Σ_i w_i V_{j_i}) P^h. The
// program checks its gradients by central differences and exits with 1 where they are wrong.
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "midus/midus.hpp"

namespace mi = midus;

template <int Rank>
struct GatedValue {
  static constexpr std::string_view name = "gated";
  static constexpr int rank = Rank;

  /// HIVE's tensors, and the gate [H,D], applied to what the head reads.
  static constexpr std::array<mi::TensorSpec, 3> tensors(const mi::ValueSizes& m) {
    const auto hive = mi::FactorizedValue<Rank>::tensors(m);
    return {hive[0], hive[1],
            mi::TensorSpec{"gate", {m.heads, m.head_width}, mi::Role::matrix, mi::Start::normal(1)}};
  }

  template <class Device, int Slots, int Heads, int HeadWidth>
  struct Layer {
    using S = typename Device::Scalar;
    using Hive = typename mi::FactorizedValue<Rank>::template Layer<Device, Slots, Heads, HeadWidth>;

    Hive hive;
    mi::Parameter<Device, 2> gate{tensors({Slots, Heads, HeadWidth, Rank})[2]};

    struct Saved {
      typename Hive::Saved hive;
      mi::Out<Device, 3> read;  // [R,H,D] before the gate
    };

    static void visit(auto& self, const mi::Path& path, auto&& f) {
      self.hive.visit(self.hive, path, f);
      mi::visit_each(path, f, self.gate);
    }

    void forward(Device& device, const mi::MemoryRead<Device>& read, Saved& saved,
                 mi::Out<Device, 3> y) const {
      saved.read = device.allocate(y.shape());
      device.fill(saved.read, S(0));
      hive.forward(device, read, saved.hive, saved.read);
      device.parallel_for(y.extent(0), [&](mi::Index row, mi::Arena&) {
        for (mi::Index i = 0; i < Heads * HeadWidth; ++i)
          y.row(row)[i] += gate.value.at(i) * saved.read.row(row)[i];
      });
    }

    void backward(Device& device, const mi::MemoryRead<Device>& read, const Saved& saved,
                  mi::In<Device, 3> dy, mi::Out<Device, 3> dweights) const {
      const auto scope = device.scope();
      const auto dread = device.allocate(dy.shape());
      device.parallel_for(dy.extent(0), [&](mi::Index row, mi::Arena&) {
        for (mi::Index i = 0; i < Heads * HeadWidth; ++i)
          dread.row(row)[i] = gate.value.at(i) * dy.row(row)[i];
      });
      if (!gate.frozen())
        device.parallel_for(Heads, [&](mi::Index head, mi::Arena&) {  // a task owns a head's sums
          for (mi::Index row = 0; row < dy.extent(0); ++row)
            for (mi::Index i = 0; i < HeadWidth; ++i)
              gate.grad(head, i) += dy(row, head, i) * saved.read(row, head, i);
        });
      hive.backward(device, read, saved.hive, dread, dweights);
    }
  };
};

using Base = mi::Llama<mi::Vocab<31>, mi::Width<16>, mi::Layers<2>, mi::Attention<4>, mi::SwiGlu<24>>;
using Memory = mi::HeadwiseMemory<4, /*Keys=*/6, /*TopK=*/3, GatedValue<5>>;
using Deeper = mi::Upscaled<Base, mi::MemoryBlock<Memory>, mi::BeforeLayers<1>>;

int main() {
  mi::Cpu<double> device;
  mi::LanguageModel<Deeper, mi::Cpu<double>> model(device);
  model.visit([](const mi::Path& path, auto& parameter) {
    const mi::Random random(1, path.str());
    for (mi::Index i = 0; i < parameter.master.size(); ++i)
      parameter.master.data()[i] = 0.5 + 0.4 * random.normal(i);
  });
  model.train("model.memory_blocks.*");

  std::int32_t ids[8], targets[8];
  for (int i = 0; i < 8; ++i) ids[i] = i * 7 % 31, targets[i] = i * 5 % 31;
  const mi::Batch batch{{ids, mi::Shape<2>{{1, 8}}}, {targets, mi::Shape<2>{{1, 8}}}};
  model.loss_and_gradients(batch, 1);

  double worst = 0;
  model.visit([&](const mi::Path&, auto& parameter) {
    if (parameter.frozen()) return;
    for (mi::Index i = 0; i < parameter.master.size(); i += 3) {
      double& value = parameter.master.data()[i];
      const double before = value, step = 1e-6;
      value = before + step;
      const double above = model.loss(batch).sum;
      value = before - step;
      const double below = model.loss(batch).sum;
      value = before;
      const double numeric = (above - below) / (2 * step), exact = parameter.grad.data()[i];
      worst = std::max(worst, std::abs(numeric - exact) / (1e-3 + std::abs(exact)));
    }
  });
  std::printf("largest relative difference between backward and central differences: %.1e\n", worst);
  return worst < 1e-5 ? 0 : 1;
}
