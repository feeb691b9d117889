// How evenly the heads of a model's Memory blocks use their slots on a token file, as JSON. Build it for the
// model's shape with `bash examples/build_for.sh DIRECTORY --only slot_use`.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

#include "midus/hf.hpp"
#include "midus/midus.hpp"
#include "midus/train/slot_use.hpp"
#include "midus_model.hpp"

int main(int argc, char** argv) try {
  CLI::App app("slot_use: how evenly the heads of a model's Memory blocks use their slots on a token file");
  std::string directory, data, json;
  midus::Index length = 128;
  int threads = 0;
  app.add_option("CHECKPOINT_DIR", directory, "The model")->required();
  app.add_option("--data", data, "The token file to read (see prepare)")->required();
  app.add_option("--length", length, "Tokens of a window")->capture_default_str();
  app.add_option("--json", json, "Where to write the numbers too");
  app.add_option("--threads", threads, "0: all processors")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  midus::Cpu<float> device(threads);
  auto model = midus::load<midus_model::Model>(directory, device);
  const midus::EvaluationBatches batches(midus::TokenFile(data), length);
  midus::Json result;
  if constexpr (midus_model::Model::Where::count == 0) {
    midus::fail(directory, " has no Memory blocks");
  } else {
    const auto use = midus::slot_use(model, batches);
    result["tokens"] = batches.file().size() - 1;
    result["slots"] = midus::slots_of<midus_model::Model::Inserted::MemoryConfig::keys>();
    for (std::size_t block = 0; block < use.size(); ++block) {
      midus::Json& of_block = result["blocks"][block];
      of_block["block"] = block;
      for (std::size_t head = 0; head < use[block].size(); ++head) {
        const midus::HeadSlotUse& of_head = use[block][head];
        of_block["used_share"][head] = of_head.used_share();
        of_block["kl_to_uniform"][head] = of_head.kl_to_uniform();
        std::printf("block %zu  head %zu  used %5.1f %%  KL to uniform %.3f nats\n", block, head,
                    100 * of_head.used_share(), of_head.kl_to_uniform());
      }
    }
  }
  if (json.empty()) return 0;
  std::ofstream file(json);
  file << result.dump(1) << "\n";
  if (!file.flush()) midus::fail(json, ": cannot write");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "slot_use: %s\n", error.what());
  return 1;
}
