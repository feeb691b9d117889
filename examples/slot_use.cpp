// How evenly the heads of a model's Memory blocks use their slots on a token file, and how large what they
// read is beside the residual stream (docs/analyses.md). Build it for the model's shape with `bash
// examples/build_for.sh DIRECTORY`.
//
//     slot_use CHECKPOINT_DIR --data bible.test.bin --json slot_use.json
#include "midus/train/slot_use.hpp"
#include <optional>

#include "common.hpp"
#include "midus_model.hpp"

namespace {

using midus::fail, midus::Index;

struct Options {
  std::string directory, data, json;
  std::optional<Index> length;
  int threads = 0;
};

template <class Config>
int slot_use(const Options& options) {
  if constexpr (Config::Where::count == 0) {
    fail(options.directory, " has no Memory blocks");
  } else {
    const Index positions = model_config<Config>(options.directory).max_position_embeddings;
    const midus::EvaluationBatches batches(open_tokens(options.data, options.directory, Config::vocab_size),
                                           window_length(options.length, 128, positions));
    check_outputs({{"--json", options.json}}, {options.directory, options.data});
    midus::Cpu<float> device(options.threads);
    auto model = load_model<Config>(options.directory, device);
    const auto use = midus::slot_use(model, batches);
    midus::Json result;
    result["tokens"] = batches.file().size() - 1;
    result["slots"] = midus::slots_of<Config::Inserted::MemoryConfig::keys>();
    std::printf("block  head  slots used  KL to uniform (nats)  |read|/|x|\n");
    for (std::size_t block = 0; block < use.size(); ++block) {
      midus::Json& of_block = result["blocks"][block];
      of_block["block"] = block;
      for (std::size_t head = 0; head < use[block].heads.size(); ++head) {
        const midus::HeadSlotUse& of_head = use[block].heads[head];
        of_block["used_share"][head] = of_head.used_share();
        of_block["kl_to_uniform"][head] = of_head.kl_to_uniform();
        std::printf("%5zu  %4zu  %8.1f %%  %20.3f", block, head, 100 * of_head.used_share(),
                    of_head.kl_to_uniform());
        if (!use[block].read_ratio_of_heads.empty()) {
          const double ratio = use[block].read_ratio_of_heads[head].value();
          of_block["read_ratio_of_heads"][head] = ratio;
          std::printf("  %10.4f", ratio);
        }
        std::printf("\n");
      }
      of_block["read_ratio"] = use[block].read_ratio.value();
      std::printf("%5zu   all  %10s  %20s  %10.4f\n", block, "", "", use[block].read_ratio.value());
    }
    if (!options.json.empty()) midus::write_file(options.json, midus::dump_json(result) + "\n");
    return 0;
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("How evenly the heads of a model's Memory blocks use their slots, and how much they add.",
               "slot_use");
  Options options;
  app.add_option("CHECKPOINT_DIR", options.directory, "The model's directory")->required();
  app.add_option("--data", options.data, "The token file to read (see prepare)")->required();
  add_number(app, "--length", options.length,
             "Tokens of a window (default: 128, or the positions that the model knows)", 1);
  app.add_option("--json", options.json, "Write the numbers to this file too");
  add_threads(app, options.threads);
  return run_program(app, argc, argv, [&] { return slot_use<midus_model::Model>(options); });
}
