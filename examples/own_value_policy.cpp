// A value policy of one's own (gated_value.hpp) on its way: its gradients against central differences, then a
// base made deeper with it, trained, saved and read again. Exits with 1 where something is wrong.
//
//     own_value_policy DIRECTORY      writes the model to DIRECTORY/gated
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <vector>

#include "gated_value.hpp"
#include "midus/hf.hpp"
#include "midus/midus.hpp"

namespace mi = midus;

using Base = mi::Llama<mi::Vocab<31>, mi::Width<16>, mi::Layers<2>, mi::Attention<4>, mi::SwiGlu<24>>;
using Memory = mi::HeadwiseMemory<4, /*Keys=*/6, /*TopK=*/3, gated::GatedValue</*Rank=*/5>>;
using Deeper = mi::Upscaled<Base, mi::MemoryBlock<Memory>, mi::BeforeLayers<1>>;

/// The largest relative difference between backward's gradients and central differences.
double gradient_error() {
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
      const double before = value, step = 1e-5;
      value = before + step;
      const double above = model.loss(batch).sum;
      value = before - step;
      const double below = model.loss(batch).sum;
      value = before;
      const double numeric = (above - below) / (2 * step), exact = parameter.grad.data()[i];
      worst = std::max(worst, std::abs(numeric - exact) / (1e-3 + std::abs(exact)));
    }
  });
  return worst;
}

int main(int argc, char** argv) try {
  if (argc != 2) mi::fail("usage: own_value_policy DIRECTORY");
  const std::filesystem::path directory = argv[1];
  const double worst = gradient_error();
  std::printf("largest relative difference between backward and central differences: %.1e\n", worst);
  if (!(worst < 1e-5)) mi::fail("the gradients are wrong");

  mi::Cpu<float> device;
  mi::LanguageModel<Base, mi::Cpu<float>> base(device);
  mi::initialise(base, 1);
  auto model = mi::upscale<Deeper>(std::move(base), {.seed = 1});
  model.train(mi::inserted);
  mi::TokenWriter writer(directory / "tokens.bin", {.vocabulary = Deeper::vocab_size});
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 400; ++i) tokens.push_back(i * i % 31);
  writer.append(tokens);
  writer.commit();
  mi::Trainer trainer(model,
                      mi::AdamW{.learning_rate = 1e-2, .groups = {{"*.memory.values", {.rate_scale = 20}}}},
                      mi::TokenFile(directory / "tokens.bin"), {.batch = 4, .length = 16, .steps = 20});
  while (const auto step = trainer.step())
    if (step->step % 5 == 0) std::printf("step %ld  loss %.4f\n", static_cast<long>(step->step), step->loss);

  mi::save(model, directory / "gated", {.force = true});
  auto again = mi::load<Deeper>(directory / "gated", device);
  const mi::Batch batch{{tokens.data(), mi::Shape<2>{{2, 16}}}, {tokens.data() + 1, mi::Shape<2>{{2, 16}}}};
  const double before = model.loss(batch).sum, after = again.loss(batch).sum;
  std::printf("loss before it was saved %.6f, after it was read %.6f\n", before, after);
  if (before != after) mi::fail("the model that was read is another one");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "own_value_policy: %s\n", error.what());
  return 1;
}
