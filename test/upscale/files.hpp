// Small models on disk for the tests of up-scaling.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "midus/upscale/expand_files.hpp"
#include "support/files.hpp"
#include "support/llama_configs.hpp"

namespace midus::test {

/// Writes a model of random weights, its tensors of type `dtype` (norms as F32), and a tokenizer.
inline void write_random_model(const std::filesystem::path& directory, const Json& json,
                               Dtype dtype = Dtype::f32, std::uint64_t shard_bytes = default_shard_bytes) {
  std::filesystem::create_directories(directory);
  const LlamaConfig config = read(json);
  write_llama_config(config, directory);
  put_file(directory / "tokenizer.json", "{\"a\": \"tokenizer\"}");
  std::vector<TensorInfo> tensors;
  for (const ParameterShape& parameter : parameter_shapes(config))
    tensors.push_back(
        {parameter.name, parameter.name.ends_with("norm.weight") ? Dtype::f32 : dtype, parameter.shape});
  CheckpointWriter writer(directory, tensors, {{"made by", "a test"}}, shard_bytes);
  for (const TensorInfo& tensor : tensors) {
    std::vector<float> values(static_cast<std::size_t>(element_count(tensor.shape)));
    fill(TensorSource::normal(0.3), 5, tensor.name, std::span(values));
    writer.write(tensor.name, weight_bytes(std::span<const float>(values), tensor.dtype));
  }
  writer.commit();
}

/// Every file of a directory by name.
inline std::map<std::string, std::string> all_files(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      files[entry.path().lexically_relative(directory).string()] = file_bytes(entry.path());
  return files;
}

inline std::string bytes_of(const StoredTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

}  // namespace midus::test
