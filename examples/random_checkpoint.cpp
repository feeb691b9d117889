// Writes a model of random weights for a config.json: full-size input to try, time and test with, without a
// download.
//
//     random_checkpoint examples/configs/llama-3.2-1b llama-random --tokenizer tokenizer.json
//
// Every value depends on the seed, its tensor's name and its index alone: the same command gives the same
// bytes, in any number of threads or shards.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "byte_progress.hpp"
#include "command_line.hpp"
#include "midus/core/random.hpp"
#include "midus/device/machine.hpp"
#include "midus/device/threads.hpp"
#include "midus/tokenizer.hpp"
#include "midus/train/interrupt.hpp"
#include "midus/upscale/expand_files.hpp"
#include "midus/upscale/plan_text.hpp"

namespace mi = midus;
namespace fs = std::filesystem;

namespace {

struct Options {
  fs::path config, out, tokenizer;
  std::optional<mi::Dtype> dtype;
  std::optional<double> std;
  std::uint64_t seed = 0, shard_bytes = mi::default_shard_bytes;
  int threads = 0;
  bool force = false;
};

/// Makes elements first, first + 1, ... of a tensor as a file holds them, on all threads: 1 in norms,
/// N(0, std²) in all others.
void make_bytes(mi::ThreadPool& pool, const mi::TensorInfo& tensor, bool norm, std::uint64_t seed, double std,
                mi::Index first, std::vector<std::byte>& bytes) {
  constexpr mi::Index piece = 1 << 14;
  const mi::Index width = mi::info(tensor.dtype).bits / 8;
  const mi::Index size = static_cast<mi::Index>(bytes.size()) / width;
  const mi::Random random(seed, tensor.name);
  pool.parallel_for((size + piece - 1) / piece, [&](mi::Index task, int) {
    const mi::Index begin = task * piece, count = std::min(piece, size - begin);
    std::vector<float> values(static_cast<std::size_t>(count), 1.0f);
    for (mi::Index i = 0; i < count && !norm; i += 4) {  // `first` and the pieces are multiples of four
      const std::array<float, 4> normals = random.normals((first + begin + i) / 4);
      for (mi::Index j = 0; j < 4 && i + j < count; ++j)
        values[static_cast<std::size_t>(i + j)] =
            static_cast<float>(std) * normals[static_cast<std::size_t>(j)];
    }
    const std::vector<std::byte> made = mi::finite_weight_bytes(
        tensor.name, std::span<const float>(values), tensor.dtype, static_cast<std::size_t>(first + begin));
    std::memcpy(bytes.data() + begin * width, made.data(), made.size());
  });
}

/// Where the tokenizer.json lies that --tokenizer names.
fs::path tokenizer_file(const fs::path& given) {
  return fs::is_directory(given) ? given / "tokenizer.json" : given;
}

/// Copies a tokenizer.json, or that of a directory with what `transformers` has to know of it.
void copy_tokenizer(const fs::path& from, const fs::path& to) {
  const auto copy = [&](const fs::path& file, const char* name) {
    mi::write_file(to / name, mi::MappedFile(file).text());
  };
  copy(tokenizer_file(from), "tokenizer.json");
  if (const fs::path settings = from / "tokenizer_config.json"; fs::exists(settings))
    copy(settings, "tokenizer_config.json");
}

int write(const Options& options) {
  mi::LlamaConfig config = mi::read_llama_config(options.config);
  if (options.dtype) config.dtype = options.dtype;
  if (!config.dtype) config.dtype = mi::Dtype::f32;
  const double std = options.std.value_or(
      mi::JsonObject(config.original, config.file).number("initializer_range", 0, 1e6, 0.02));
  mi::check_target(options.config, options.out, options.force);
  if (!options.tokenizer.empty())
    mi::read_tokenizer(tokenizer_file(options.tokenizer)).expect_to_fit(config.vocab_size);
  std::vector<mi::TensorInfo> tensors;
  std::vector<bool> norms;  // by tensor
  std::uint64_t all = 0, done = 0;
  for (mi::ParameterShape& parameter : mi::parameter_shapes(config)) {
    all += mi::tensor_bytes(parameter.name, *config.dtype, parameter.shape);
    norms.push_back(parameter.role == mi::Role::norm);
    tensors.push_back({std::move(parameter.name), *config.dtype, std::move(parameter.shape)});
  }

  const mi::Interrupt interrupt("\nStopping; nothing is written.\n");
  mi::AtomicDirectory directory(options.out, options.force);
  mi::write_llama_config(config, directory.path());
  if (!options.tokenizer.empty()) copy_tokenizer(options.tokenizer, directory.path());
  if (config.memory) mi::let_python_keep_ids(directory.path());
  mi::CheckpointWriter writer(directory.path(), tensors, {}, options.shard_bytes);
  mi::ThreadPool pool(options.threads > 0 ? options.threads : mi::available_processors());
  ByteProgress progress("writing");
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const mi::TensorInfo& tensor = tensors[i];
    constexpr mi::Index piece = 1 << 22;  // elements at a time: what is in memory
    const mi::Index size = mi::element_count(tensor.shape), width = mi::info(tensor.dtype).bits / 8;
    for (mi::Index first = 0; first < size; first += piece) {
      if (interrupt.requested()) return interrupt.exit_code();
      bytes.resize(static_cast<std::size_t>(std::min(piece, size - first) * width));
      make_bytes(pool, tensor, norms[i], options.seed, std, first, bytes);
      writer.write(tensor.name, bytes);
      progress(done += bytes.size(), all);
    }
  }
  if (interrupt.requested()) return interrupt.exit_code();
  writer.commit();
  directory.commit();
  progress.end();
  std::cout << "wrote " << options.out.string() << ": "
            << mi::grouped(static_cast<std::uint64_t>(mi::parameter_count(config))) << " parameters in "
            << tensors.size() << " tensors, " << mi::to_string(*config.dtype) << ", " << mi::grouped(all)
            << " bytes\n";
  return 0;
}

}  // namespace

int main(int argc, char* argv[]) {
  Options options;
  CLI::App app("Writes a model of random weights, of the shape that CONFIG says, to OUT.",
               "random_checkpoint");
  app.add_option("CONFIG", options.config,
                 "A config.json, or a directory with one: a Llama, also with Memory blocks")
      ->required();
  app.add_option("OUT", options.out, "The directory to write; it appears when it is complete")->required();
  add_dtype(app, "--dtype", options.dtype, "Type of the weights (default: as CONFIG says, else float32)");
  add_number(app, "--std", options.std,
             "Standard deviation of all weights but the norms', which are 1 (default: CONFIG's "
             "initializer_range, else 0.02)",
             0, 1e6);
  add_seed(app, options.seed, "Seed of the random numbers; the same seed gives the same bytes");
  app.add_option("--shard-size", options.shard_bytes,
                 "The largest file of weights, in bytes or as 500MB, 2GiB, ...; more go to further files")
      ->transform(CLI::AsSizeValue(true))
      ->transform(CLI::Validator(
          [](std::string& given) {
            const std::size_t digits = std::min(given.find_first_not_of("0123456789"), given.size());
            given =
                std::to_string(command_line::read_number<std::uint64_t>(
                    "--shard-size", given.substr(0, digits), 1, std::numeric_limits<std::uint64_t>::max())) +
                given.substr(digits);
            return std::string();
          },
          ""))
      ->capture_default_str();
  app.add_option("--tokenizer", options.tokenizer,
                 "A tokenizer.json, or a directory with one, to copy beside the weights");
  add_threads(app, options.threads);
  app.add_flag("--force", options.force,
               "Replace the model at OUT (refused where other files lie there too)");
  return run_program(app, argc, argv, [&] { return write(options); });
}
