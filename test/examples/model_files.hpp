// The model that the programs in test/examples are built for, on disk.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "midus/train/token_file.hpp"
#include "upscale/files.hpp"

namespace midus::test {

inline const std::filesystem::path odd_config = std::filesystem::path(MIDUS_SOURCE_DIR) / "test/configs/odd";

/// The shape of odd_config with random weights. Its tokens are bytes, so there is no tokenizer.
inline void write_odd_model(const std::filesystem::path& directory, Dtype dtype = Dtype::f32) {
  write_random_model(directory, read_json_file(odd_config / "config.json"), dtype);
  std::filesystem::remove(directory / "tokenizer.json");
}

/// Replaces one number of a model whose weights are F32.
inline void put_weight(const std::filesystem::path& directory, const std::string& name, std::size_t index,
                       float value) {
  const std::filesystem::path path = directory / "model.safetensors";
  std::string bytes = file_bytes(path);
  const SafetensorsFile file(path);
  const StoredTensor& tensor = file.at(name);
  const std::byte* first = tensor.bytes.data();
  std::size_t all = 0;
  for (const auto& [other, stored] : file.tensors()) {
    first = std::min(first, stored.bytes.data());
    all += stored.bytes.size();
  }
  const std::size_t at = bytes.size() - all + static_cast<std::size_t>(tensor.bytes.data() - first);
  std::memcpy(bytes.data() + at + index * sizeof value, &value, sizeof value);
  std::filesystem::remove(path);  // the mapping keeps what it has
  put_file(path, bytes);
}

/// A token file of bytes.
inline void write_bytes(const std::filesystem::path& path, std::string_view text) {
  TokenWriter writer(path);
  writer.append_bytes(text);
  writer.commit();
}

}  // namespace midus::test
