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

using midus::fail, midus::Index;

struct Options {
  std::string directory, json, store = "f32";
  std::vector<std::string> data;
  std::optional<Index> length;
  Index batch = 16;
  int threads = 0;
};

struct Row {
  std::string name, file;
  midus::LossSum loss;
  double bits() const { return loss.mean() / std::numbers::ln2; }
};

/// The files by name, checked against the model before anything is computed.
std::vector<std::pair<std::string, midus::EvaluationBatches>> open_files(const Options& options,
                                                                         Index length) {
  constexpr Index vocabulary = midus_model::Model::vocab_size;
  std::vector<std::pair<std::string, midus::EvaluationBatches>> files;
  for (const std::string& given : options.data) {
    const std::size_t equals = given.find('=');
    if (equals == 0 || equals == given.npos || equals + 1 == given.size())
      fail("--data: expected NAME=FILE, found \"", given, "\"");
    const std::string name = given.substr(0, equals);
    for (const auto& [known, batches] : files)
      if (known == name) fail("--data: two files have the name \"", name, "\"");
    midus::TokenFile file = open_tokens(given.substr(equals + 1), options.directory, vocabulary);
    files.emplace_back(name, midus::EvaluationBatches(std::move(file), length));
  }
  return files;
}

void print_table(const std::vector<Row>& rows, bool bytes) {
  std::size_t width = 4;
  for (const Row& row : rows) width = std::max(width, row.name.size());
  const int w = static_cast<int>(width);
  std::printf("%-*s  %12s  %10s  %12s  %11s\n", w, "data", "tokens", "nats/token", "perplexity",
              bytes ? "bits/byte" : "bits/token");
  for (const Row& row : rows)
    std::printf("%-*s  %12lld  %10.4f  %12.4f  %11.4f\n", w, row.name.c_str(),
                static_cast<long long>(row.loss.count), row.loss.mean(), std::exp(row.loss.mean()),
                row.bits());
  if (!bytes)
    std::printf(
        "Bits per byte need the length of the text in bytes, which a token file does not hold: they are\n"
        "bits/token times the tokens per byte of the text.\n");
}

void write_json(const Options& options, Index length, const std::vector<Row>& rows, bool bytes) {
  midus::Json json;
  json["model"] = options.directory;
  json["length"] = length;
  json["store"] = options.store;
  json["results"] = midus::Json::array();
  for (const Row& row : rows) {
    midus::Json result;
    result["name"] = row.name;
    result["file"] = row.file;
    result["tokens"] = row.loss.count;
    result["loss"] = row.loss.mean();
    result["perplexity"] = std::exp(row.loss.mean());
    result["bits_per_token"] = row.bits();
    result["bits_per_byte"] = bytes ? midus::Json(row.bits()) : midus::Json(nullptr);
    json["results"].push_back(std::move(result));
  }
  midus::write_file(options.json, midus::dump_json(json) + "\n");
}

int evaluate(const Options& options) {
  if (options.batch < 1) fail("--batch must be at least 1, found ", options.batch);
  const midus::LlamaConfig config = midus::read_llama_config(options.directory);
  midus::check_shape<midus_model::Model>(config, options.directory);
  const Index positions = config.max_position_embeddings;
  const Index length = options.length.value_or(std::min<Index>(256, positions));
  if (length < 1) fail("--length must be at least 1, found ", length);
  if (length > positions)
    fail("--length ", length, ": the model knows ", positions, " positions (max_position_embeddings)");
  const auto files = open_files(options, length);

  midus::Cpu<float> device(options.threads);
  auto model =
      load_model<midus_model::Model>(options.directory, device, {.store_bfloat16 = options.store == "bf16"});
  midus::ProgressLine line;
  std::vector<Row> rows;
  for (const auto& [name, batches] : files) {
    const midus::LossSum loss =
        midus::evaluate(model, batches, options.batch, [&, &name = name](Index done, Index all) {
          if (line.due()) line.show(midus::text(name, "  ", 100 * done / all, " %"));
        });
    rows.push_back({name, batches.file().path().string(), loss});
  }
  line.end_line();
  const bool bytes = is_byte_model(options.directory, midus_model::Model::vocab_size);
  print_table(rows, bytes);
  if (!options.json.empty()) write_json(options, length, rows, bytes);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Perplexity of a model on token files.", "evaluate");
  Options options;
  app.add_option("CHECKPOINT_DIR", options.directory, "The model")->required();
  app.add_option("--data", options.data, "Token files, each as NAME=FILE")->required();
  app.add_option("--length", options.length,
                 "Tokens that the model reads at once (default: 256, or the positions that it knows)");
  app.add_option("--batch", options.batch, "Windows at once: memory, not results")->capture_default_str();
  app.add_option("--json", options.json, "Write the numbers to this file too");
  add_store(app, options.store);
  add_threads(app, options.threads);
  return run_program(app, argc, argv, [&] { return evaluate(options); });
}
