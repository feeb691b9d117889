// Perplexity of a model on token files (see prepare). Build it for the checkpoint's shape with `bash
// examples/build_for.sh DIRECTORY`.
//
//     evaluate CHECKPOINT_DIR --data bible=bible.test.bin --data glosses=glosses.test.bin
//
// Every token but a file's first is predicted once, with what its window of --length tokens holds before it;
// means are over the tokens that count.
#include <algorithm>
#include <numbers>
#include <optional>

#include "common.hpp"
#include "midus_model.hpp"

namespace {

using midus::Index;

struct Options {
  std::string directory, json;
  midus::Dtype store = midus::Dtype::f32;
  std::vector<std::string> data;
  std::optional<Index> length;
  Index limit = 0, batch = 16;
  int threads = 0;
};

struct Row {
  std::string name, file;
  midus::LossSum loss;
  std::optional<double> bits_per_byte;

  double bits() const { return loss.mean() / std::numbers::ln2; }
};

void print_table(const std::vector<Row>& rows) {
  std::size_t width = 4;
  for (const Row& row : rows) width = std::max(width, row.name.size());
  const int w = static_cast<int>(width);
  bool all_known = true;
  std::printf("%-*s  %12s  %10s  %12s  %11s  %10s\n", w, "data", "tokens", "nats/token", "perplexity",
              "bits/token", "bits/byte");
  for (const Row& row : rows) {
    std::printf("%-*s  %12lld  %10.4f  %12.4f  %11.4f  ", w, row.name.c_str(),
                static_cast<long long>(row.loss.count), row.loss.mean(), std::exp(row.loss.mean()),
                row.bits());
    if (row.bits_per_byte)
      std::printf("%10.4f\n", *row.bits_per_byte);
    else
      std::printf("%10s\n", "-");
    all_known = all_known && row.bits_per_byte;
  }
  if (!all_known)
    std::printf(
        "Bits per byte need the length of the text in bytes: prepare a token file again that does not hold "
        "it, and\nleave --limit out. They are bits/token times the tokens per byte of the text.\n");
}

void write_json(const Options& options, Index length, const std::vector<Row>& rows) {
  midus::Json json;
  json["model"] = options.directory;
  json["length"] = length;
  json["store"] = options.store == midus::Dtype::f32 ? "f32" : "bf16";
  json["results"] = midus::Json::array();
  for (const Row& row : rows) {
    midus::Json result;
    result["name"] = row.name;
    result["file"] = row.file;
    result["tokens"] = row.loss.count;
    result["loss"] = row.loss.mean();
    result["perplexity"] = std::exp(row.loss.mean());
    result["bits_per_token"] = row.bits();
    result["bits_per_byte"] = row.bits_per_byte ? midus::Json(*row.bits_per_byte) : midus::Json(nullptr);
    json["results"].push_back(std::move(result));
  }
  midus::write_file(options.json, midus::dump_json(json) + "\n");
}

int evaluate(const Options& options) {
  using Config = midus_model::Model;
  const midus::LlamaConfig config = model_config<Config>(options.directory);
  const Index length = window_length(options.length, 256, config.max_position_embeddings);
  const auto files =
      open_evaluations("--data", options.data, options.directory, Config::vocab_size, length, options.limit);
  std::vector<std::filesystem::path> inputs{options.directory};
  for (const auto& [name, batches] : files) inputs.push_back(batches.file().path());
  check_outputs({{"--json", options.json}}, inputs);

  midus::Cpu<float> device(options.threads);
  auto model =
      load_model<Config>(options.directory, device, {.store_bfloat16 = options.store == midus::Dtype::bf16});
  midus::ProgressLine line;
  std::vector<Row> rows;
  for (const auto& [name, batches] : files) {
    const midus::LossSum loss =
        midus::evaluate(model, batches, options.batch, [&, &name = name](Index done, Index all) {
          if (line.due(done == all)) line.show(midus::text(name, "  ", 100 * done / all, " %"));
        });
    rows.push_back({name, batches.file().path().string(), loss, batches.bits_per_byte(loss.mean())});
  }
  line.end_line();
  print_table(rows);
  if (!options.json.empty()) write_json(options, length, rows);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Perplexity of a model on token files.", "evaluate");
  Options options;
  app.add_option("CHECKPOINT_DIR", options.directory, "The model's directory")->required();
  app.add_option("--data", options.data, "Token files, each as NAME=FILE")->required();
  add_number(app, "--length", options.length,
             "Tokens that the model reads at once (default: 256, or the positions that it knows)", 1);
  add_number(app, "--limit", options.limit, "Predict only so many of each file's first tokens; 0: all", 0);
  add_number(app, "--batch", options.batch, "Windows at once: memory, not results", 1);
  app.add_option("--json", options.json, "Write the numbers to this file too");
  add_store(app, options.store);
  add_threads(app, options.threads);
  return run_program(app, argc, argv, [&] { return evaluate(options); });
}
