// Models to and from Hugging Face directories.
#pragma once

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "midus/io/atomic_directory.hpp"
#include "midus/io/auto_tokenizer.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/checkpoint_writer.hpp"
#include "midus/io/like.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/llama_config_writer.hpp"
#include "midus/io/model_card.hpp"
#include "midus/io/model_directory.hpp"
#include "midus/io/model_shape.hpp"
#include "midus/io/model_tensors.hpp"
#include "midus/io/tensor_convert.hpp"
#include "midus/io/weight_reader.hpp"
#include "midus/model/initialise.hpp"

namespace midus {

/// The run-time numbers that a configuration holds.
inline ModelSettings settings_of(const LlamaConfig& config) {
  return {.rms_norm_eps = config.rms_norm_eps,
          .rope = config.rope,
          .max_position_embeddings = config.max_position_embeddings};
}

/// A model whose values are at random, of the shape and with the numbers of a config.json.
template <ModelConfig Config, Device D>
LanguageModel<Config, D> make_model(const LlamaConfig& config, D& device) {
  check_shape<Config>(config, std::filesystem::path(config.file).parent_path().string());
  LanguageModel<Config, D> model(device, settings_of(config));
  model.expansions = config.history;
  return model;
}

/// Loads the model in a directory (docs/checkpoint.md), converting the weights to the device's scalar. Throws
/// `Error` where the directory is not a model of this shape, complete and well-formed. Weights go from the
/// mapped files to their places: beside the model itself, no more memory is in use at once than a piece of a
/// tensor takes.
template <ModelConfig Config, Device D>
LanguageModel<Config, D> load(const std::filesystem::path& directory, D& device,
                              const LoadOptions& options = {}) {
  shape_of<Config>();  // makes its value policy known, before a file names it
  const LlamaConfig config = read_llama_config(directory);
  LanguageModel<Config, D> model = make_model<Config>(config, device);
  if (!options.train.empty()) model.train(options.train);
  const CheckpointFiles files(directory);
  std::vector<std::string> warnings = files.warnings();
  for (std::string& warning : check_tensors(config, files)) warnings.push_back(std::move(warning));
  if (options.say) {
    for (const SafetensorsFile& file : files.files()) options.say("read " + file.path().string());
    for (const std::string& warning : warnings) options.say("warning: " + warning);
  }
  WeightReader reader(device, files, options);
  model.visit([&](const Path& path, auto& parameter) {
    if (options.store_bfloat16 && parameter.frozen())
      reader.read(path.str(), model.narrow(path, parameter));
    else
      reader.read(path.str(), parameter.master.flat());
  });
  return model;
}

/// How a model is written.
struct SaveOptions {
  Like like{};  ///< a path: the directory whose config.json and other files (tokenizer, ...) are taken over
  /// Of the weights; left out: that of `like`'s tensors of the same names, or the device's scalar where there
  /// are none. A narrower one rounds to nearest even.
  std::optional<Dtype> dtype{};
  std::string card{};  ///< README.md; left out: that of `like`, where it has one
  bool force = false;  ///< replace the model that is there
  std::uint64_t shard_bytes = default_shard_bytes;
};

/// The configuration of a model as it would be saved: `like`'s with what has changed.
template <ModelConfig Config, Device D>
LlamaConfig config_of(const LanguageModel<Config, D>& model, const Like& like = {}) {
  LlamaConfig config = like.config();
  LlamaConfig shape = shape_of<Config>();
  shape.bos_token_ids = config.bos_token_ids, shape.eos_token_ids = config.eos_token_ids;
  shape.original = std::move(config.original), shape.file = config.file, shape.dtype = config.dtype;
  shape.rms_norm_eps = model.settings().rms_norm_eps;
  shape.rope = model.settings().rope;
  shape.max_position_embeddings = model.settings().max_position_embeddings;
  shape.history = model.expansions;
  return shape;
}

/// Writes config.json and weights into a directory that exists: the parts of `save` and of a training
/// checkpoint. Throws `Error` with the name of the first tensor that has a number that is not finite, or
/// would not be in the type that it is written in.
template <ModelConfig Config, Device D>
void write_model(const LanguageModel<Config, D>& model, const std::filesystem::path& directory,
                 const SaveOptions& options = {}) {
  LlamaConfig config = config_of(model, options.like);
  constexpr Dtype scalar = dtype_of<typename D::Scalar>;
  if (options.dtype || !options.like.has_weights()) config.dtype = options.dtype.value_or(scalar);
  const auto dtype_for = [&](const std::string& name) {
    return options.dtype ? *options.dtype : options.like.dtype(name, config.dtype.value_or(scalar));
  };
  write_llama_config(config, directory);
  std::vector<TensorInfo> tensors;
  model.visit([&](const Path& path, const auto& parameter) {
    const auto& extents = parameter.shape.extents;
    tensors.push_back({path.str(), dtype_for(path.str()), {std::begin(extents), std::end(extents)}});
  });
  CheckpointWriter writer(directory, tensors, options.like.metadata(), options.shard_bytes);
  using S = typename D::Scalar;
  constexpr Index piece = Index{1} << 18;  // what is converted at once: no tensor is in memory twice
  std::vector<S> widened(static_cast<std::size_t>(piece));
  model.visit([&](const Path& path, const auto& parameter) {
    const Dtype dtype = dtype_for(path.str());
    const Index size = parameter.shape.size();
    for (Index at = 0; at < size; at += piece) {
      const Index count = std::min(piece, size - at);
      const std::span values(parameter.value.widen(at, count, widened.data()),
                             static_cast<std::size_t>(count));
      writer.write(path.str(),
                   dtype == scalar  // then the writer says what is not finite
                       ? weight_bytes(values, dtype)
                       : finite_weight_bytes(path.str(), values, dtype, static_cast<std::size_t>(at)));
    }
  });
  writer.commit();
}

/// Saves a model as a Hugging Face directory, which appears whole or not at all. Throws `Error` where there
/// is one already and `force` is not given, or where replacing it would remove more than a model.
template <ModelConfig Config, Device D>
void save(const LanguageModel<Config, D>& model, const std::filesystem::path& directory,
          const SaveOptions& options = {}) {
  if (options.force)
    if (const std::string reason = why_not_replace(directory, options.like.directory()); !reason.empty())
      fail(reason);
  AtomicDirectory target(directory, options.force);
  write_model(model, target.path(), options);
  options.like.write_other_files(target.path());
  if (!options.card.empty()) write_file(target.path() / model_card_name, options.card);
  if (config_of(model, options.like).memory) let_python_keep_ids(target.path());
  target.commit();
}

}  // namespace midus
