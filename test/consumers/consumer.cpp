// The program that every consumer builds: a training step of a small up-scaled model.
#include "consumer.hpp"

namespace mi = midus;
using Base = mi::Llama<mi::Vocab<64>, mi::Width<16>, mi::Layers<2>, mi::Attention<2>, mi::SwiGlu<24>>;
using Memory = mi::HeadwiseMemory<2, /*Keys=*/8, /*TopK=*/4, mi::FactorizedValue<4>>;
using Deeper = mi::Upscaled<Base, mi::MemoryBlock<Memory>, mi::BeforeLayers<1>>;

int main() {
  mi::Cpu<float> device(2);
  mi::LanguageModel<Base, mi::Cpu<float>> base(device);
  mi::initialise(base, 1);
  auto model = mi::upscale<Deeper>(std::move(base), {.seed = 1});
  model.train(mi::inserted);
  model.zero_gradients();
  const std::int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8}, targets[] = {2, 3, 4, 5, 6, 7, 8, 9};
  const mi::Shape<2> shape{{2, 4}};
  const mi::LossSum loss = model.loss_and_gradients({{ids, shape}, {targets, shape}}, 1.0 / 8);
  std::printf("midus %s: loss %.3f\n", mi::version_string, loss.mean());
  if (!(loss.mean() > 4 && loss.mean() < 4.3)) return 1;  // log 64 is 4.159
  if (seen_by_other_unit() == &mi::version_string) return 0;
  std::puts("what must exist once exists twice");
  return 1;
}
