// Models on disk made deeper, and made shallow again, tensor by tensor.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "midus/io/atomic_directory.hpp"
#include "midus/io/auto_tokenizer.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/checkpoint_writer.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/llama_config_writer.hpp"
#include "midus/io/model_directory.hpp"
#include "midus/io/tensor_convert.hpp"
#include "midus/upscale/plan.hpp"

namespace midus {

/// A model on disk whose tensors have been checked against its configuration.
struct ModelOnDisk {
  LlamaConfig config;
  CheckpointFiles files;
  std::vector<std::string> warnings;

  /// Throws `Error` where the directory is not a complete model.
  explicit ModelOnDisk(const std::filesystem::path& directory)
      : config(read_llama_config(directory)), files(directory), warnings(files.warnings()) {
    for (std::string& warning : check_tensors(config, files)) warnings.push_back(std::move(warning));
    if (std::string rest = what_stays_behind(directory); !rest.empty()) warnings.push_back(std::move(rest));
    if (std::string reason = why_python_differs(directory); !reason.empty())
      warnings.push_back(std::move(reason));
  }
};

/// The plan of an expansion of a model on disk, in whose types the new tensors are stored.
inline Plan make_plan(const ModelOnDisk& base, const UpscaleOptions& options) {
  return make_plan(base.config, options, [&](std::string_view name) { return base.files.at(name).dtype; });
}

namespace detail {

/// Writes the tensors, at most a piece of one in memory at a time: copies as the base's bytes.
inline void write_tensors(const CheckpointFiles& base, const std::vector<PlannedTensor>& tensors,
                          std::uint64_t seed, const std::filesystem::path& directory,
                          std::uint64_t shard_bytes) {
  std::vector<TensorInfo> infos;
  for (const PlannedTensor& tensor : tensors) infos.push_back(tensor.info);
  CheckpointWriter writer(directory, infos, base.metadata(), shard_bytes);
  std::vector<double> values;
  for (const PlannedTensor& tensor : tensors) {
    const std::string& name = tensor.info.name;
    if (tensor.source.is_copy()) {
      writer.write(name, base.at(tensor.source.from).bytes);
      continue;
    }
    constexpr Index piece = Index{1} << 18;
    const Index size = element_count(tensor.info.shape);
    for (Index first = 0; first < size; first += piece) {
      values.resize(static_cast<std::size_t>(std::min(piece, size - first)));
      fill(tensor.source, seed, name, std::span(values), first);
      writer.write(name, finite_weight_bytes(name, std::span<const double>(values), tensor.info.dtype,
                                             static_cast<std::size_t>(first)));
    }
  }
  writer.commit();
}

}  // namespace detail

/// Writes the planned model into a directory that exists (`AtomicDirectory::path()`): config.json, weights,
/// and copies of the base's other files. Every tensor of the base is in it bit for bit. What was written is
/// read back and checked.
inline void write_expanded(const ModelOnDisk& base, const Plan& plan, const std::filesystem::path& directory,
                           std::uint64_t shard_bytes = default_shard_bytes) {
  write_llama_config(plan.deeper, directory);
  detail::write_tensors(base.files, plan.tensors, plan.seed, directory, shard_bytes);
  write_other_files(read_other_files(base.files.directory()), directory);
  if (plan.deeper.memory) let_python_keep_ids(directory);
  ModelOnDisk{directory};
}

/// The configuration without Memory blocks, and without the history of those.
inline LlamaConfig detached_config(LlamaConfig config) {
  if (!config.memory) fail(config.file, ": this model has no Memory blocks to detach");
  config.memory.reset();
  std::erase_if(config.history,
                [](const Expansion& expansion) { return names_of(expansion.policy).inserts_memory; });
  return config;
}

/// Writes the model without its Memory blocks into a directory that exists. Of a model that midus made by
/// inserting them, and whose base was not trained since, this is the base: its tensors bit for bit, and its
/// files byte for byte where the base was one `model.safetensors` in the order that midus and safetensors
/// write, and its config.json had the layout that transformers and midus write. Else config.json has the same
/// keys in the same order with the same values, except that it names "architectures" and "model_type" always.
/// Layers that LLaMA-Pro inserted stay.
inline void write_detached(const ModelOnDisk& model, const std::filesystem::path& directory,
                           std::uint64_t shard_bytes = default_shard_bytes) {
  const LlamaConfig config = detached_config(model.config);
  std::vector<PlannedTensor> kept;
  for (ParameterShape& parameter : parameter_shapes(config)) {
    TensorSource source = TensorSource::copy_of(parameter.name);
    const Dtype dtype = model.files.at(parameter.name).dtype;
    kept.push_back(
        {{std::move(parameter.name), dtype, std::move(parameter.shape)}, std::move(source), false});
  }
  write_llama_config(config, directory);
  detail::write_tensors(model.files, kept, 0, directory, shard_bytes);
  write_other_files(read_other_files(model.files.directory()), directory);
  restore_tokenizer_config(directory);
  ModelOnDisk{directory};
}

}  // namespace midus
