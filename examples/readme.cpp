// The program of the README: up-scale a base model with Memory blocks, train only them, save the result.
#include <cstdio>

#include "midus/hf.hpp"
#include "midus/midus.hpp"
namespace mi = midus;

using Base =
    mi::Llama<mi::Vocab<256>, mi::Width<64>, mi::Layers<4>, mi::Attention<4>, mi::SwiGlu<176>, mi::TiedHead>;
using Memory = mi::HeadwiseMemory<4, /*Keys=*/64, /*TopK=*/8, mi::FactorizedValue</*Rank=*/32>>;
using Deeper = mi::Upscaled<Base, mi::MemoryBlock<Memory>, mi::BeforeLayers<1, 3>>;

int main(int argc, char** argv) try {
  if (argc != 4) mi::fail("usage: readme BASE_DIR TOKEN_FILE OUT_DIR");
  mi::Cpu<float> device;                        // all processors that the process may use
  auto base = mi::load<Base>(argv[1], device);  // config.json and safetensors
  auto model =
      mi::upscale<Deeper>(std::move(base), {.seed = 1});  // the same logits; the base's memory is taken over
  model.train(mi::inserted);                              // or mi::everything, or "*.memory.*"
  mi::Trainer trainer(model,
                      mi::AdamW{.learning_rate = 3e-3, .groups = {{"*.memory.values", {.rate_scale = 20}}}},
                      mi::TokenFile(argv[2]), {.batch = 16, .length = 128, .steps = 100});
  while (const auto step = trainer.step())
    std::printf("step %ld  loss %.4f  %.0f tokens/s\n", static_cast<long>(step->step), step->loss,
                step->tokens_per_s);
  mi::save(model, argv[3], {.like = argv[1]});
} catch (const std::exception& error) {
  std::fprintf(stderr, "readme: %s\n", error.what());
  return 1;
}
