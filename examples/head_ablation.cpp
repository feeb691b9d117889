// What the memory of each head is worth: the loss on a token file without it, minus the loss with all
// (docs/analyses.md). Build it for the model's shape with `bash examples/build_for.sh DIRECTORY`.
//
//     head_ablation CHECKPOINT_DIR --data bible.test.bin --json head_ablation.json
#include "midus/train/head_ablation.hpp"
#include <optional>

#include "common.hpp"
#include "midus_model.hpp"

namespace {

using midus::fail, midus::Index;

struct Options {
  std::string directory, data, json;
  std::optional<Index> length;
  Index batch = 16;
  int threads = 0;
};

// A program for a model without Memory blocks uses neither of these two.
[[maybe_unused]] void print_table(const midus::HeadAblation& ablation) {
  std::printf(
      "loss with all memories: %.4f nats/token over %lld tokens; what it grows by without one head's:\n",
      ablation.all.mean(), static_cast<long long>(ablation.all.count));
  std::printf("block");
  for (std::size_t head = 0; head < ablation.without[0].size(); ++head) std::printf("  head %4zu", head);
  for (std::size_t block = 0; block < ablation.without.size(); ++block) {
    std::printf("\n%5zu", block);
    for (std::size_t head = 0; head < ablation.without[block].size(); ++head)
      std::printf("  %+9.5f", ablation.increase(block, head));
  }
  std::printf("\n");
}

[[maybe_unused]] void write_json(const Options& options, Index length, const midus::HeadAblation& ablation) {
  midus::Json json;
  json["model"] = options.directory;
  json["file"] = options.data;
  json["length"] = length;
  json["tokens"] = ablation.all.count;
  json["loss"] = ablation.all.mean();
  for (std::size_t block = 0; block < ablation.without.size(); ++block) {
    json["blocks"][block]["block"] = block;
    for (std::size_t head = 0; head < ablation.without[block].size(); ++head) {
      json["blocks"][block]["loss_without"][head] = ablation.without[block][head].mean();
      json["blocks"][block]["increase"][head] = ablation.increase(block, head);
    }
  }
  midus::write_file(options.json, midus::dump_json(json) + "\n");
}

template <class Config>
int head_ablation(const Options& options) {
  if constexpr (Config::Where::count == 0) {
    fail(options.directory, " has no Memory blocks");
  } else if constexpr (!midus::HasHeadwiseMemory<Config>) {
    fail(options.directory,
         " has product-key memories (PKM): their heads read one bank, so that none can be taken away alone");
  } else {
    const Index positions = model_config<Config>(options.directory).max_position_embeddings;
    const Index length = window_length(options.length, 128, positions);
    const midus::EvaluationBatches batches(open_tokens(options.data, options.directory, Config::vocab_size),
                                           length);
    check_outputs({{"--json", options.json}}, {options.directory, options.data});
    midus::Cpu<float> device(options.threads);
    auto model = load_model<Config>(options.directory, device);
    midus::ProgressLine line;
    const midus::HeadAblation ablation =
        midus::head_ablation(model, batches, options.batch, [&](std::size_t done, std::size_t all) {
          if (line.due(done == all)) line.show(midus::text("evaluation ", done, " of ", all));
        });
    line.end_line();
    print_table(ablation);
    if (!options.json.empty()) write_json(options, length, ablation);
    return 0;
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("What the memory of each head is worth: the loss without it, minus the loss with all.",
               "head_ablation");
  Options options;
  app.add_option("CHECKPOINT_DIR", options.directory, "The model's directory")->required();
  app.add_option("--data", options.data,
                 "The token file to evaluate on (see prepare), once for every head of every block")
      ->required();
  add_number(app, "--length", options.length,
             "Tokens of a window (default: 128, or the positions that the model knows)", 1);
  add_number(app, "--batch", options.batch, "Windows at once: memory, not results", 1);
  app.add_option("--json", options.json, "Write the numbers to this file too");
  add_threads(app, options.threads);
  return run_program(app, argc, argv, [&] { return head_ablation<midus_model::Model>(options); });
}
