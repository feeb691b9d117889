// The umbrella alone, which needs Eigen and nothing else: logits of a model at random.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <midus/midus.hpp>

namespace mi = midus;
using Base = mi::Llama<mi::Vocab<16>, mi::Width<8>, mi::Layers<1>, mi::Attention<2>, mi::SwiGlu<12>>;

int main() {
  mi::Cpu<float> device;
  mi::LanguageModel<Base, mi::Cpu<float>> model(device);
  mi::initialise(model, 1);
  const std::int32_t ids[] = {1, 2, 3};
  const auto logits = model.logits({ids, mi::Shape<2>{{1, 3}}});
  std::printf("midus %s: %g\n", mi::version_string, static_cast<double>(logits(2, 15)));
  return std::isfinite(logits(2, 15)) ? 0 : 1;
}
