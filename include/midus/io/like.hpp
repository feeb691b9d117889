// What a saved model takes over from another model's directory, read once.
#pragma once

#include <concepts>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "midus/core/dtype.hpp"
#include "midus/core/error.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/model_directory.hpp"
#include "midus/io/sha256.hpp"

namespace midus {

/// A model's directory as far as a model that is saved like it takes it over: config.json, the types of its
/// weights and what its weight files say of themselves, and the files beside them (tokenizer, generation
/// config, chat templates, code). All of it is read when the object is made, so that the directory may change
/// or go away afterwards; copies share it.
class Like {
 public:
  Like() = default;  ///< like nothing
  /// Reads a directory; an empty path is like nothing. Throws `Error` where it is no model's.
  template <class Path>
  requires std::convertible_to<const Path&, std::filesystem::path> Like(const Path& directory) {
    if (std::filesystem::path path = directory; !path.empty())
      contents_ = std::make_shared<const Contents>(std::move(path));
  }

  explicit operator bool() const { return contents_ != nullptr; }
  /// Where it was; empty: like nothing.
  std::filesystem::path directory() const { return contents_ ? contents_->directory : ""; }
  /// SHA-256 of config.json, in hexadecimal digits.
  std::string config_digest() const { return contents_ ? contents_->config_digest : ""; }
  LlamaConfig config() const { return contents_ ? contents_->config : LlamaConfig(); }
  /// Whether there were weights, and not a config.json alone.
  bool has_weights() const { return contents_ && contents_->has_weights; }
  /// The type of the tensor of this name; `usual` where there is none.
  Dtype dtype(std::string_view tensor, Dtype usual) const {
    if (!contents_) return usual;
    const auto found = contents_->dtypes.find(tensor);
    return found == contents_->dtypes.end() ? usual : found->second;
  }
  SafetensorsMetadata metadata() const { return contents_ ? contents_->metadata : SafetensorsMetadata(); }

  /// One of the files beside config.json and weights, by its name; empty where there is none.
  std::string_view other_file(std::string_view name) const {
    if (contents_)
      for (const auto& [other, bytes] : contents_->others)
        if (other == name) return bytes;
    return "";
  }

  /// Writes the files beside config.json and weights into a directory, byte for byte.
  void write_other_files(const std::filesystem::path& to) const {
    if (contents_) midus::write_other_files(contents_->others, to);
  }

 private:
  struct Contents {
    explicit Contents(std::filesystem::path path)
        : directory(std::move(path)),
          config(read_llama_config(directory)),
          config_digest(to_hex(sha256_file(directory / "config.json"))),
          others(read_other_files(directory)) {
      if ((has_weights = holds_weights(directory))) {
        const CheckpointFiles files(directory);
        for (const auto& [name, located] : files.tensors()) dtypes.emplace(name, located.tensor->dtype);
        metadata = files.metadata();
      }
    }
    std::filesystem::path directory;
    LlamaConfig config;
    std::string config_digest;
    OtherFiles others;
    bool has_weights = false;
    std::map<std::string, Dtype, std::less<>> dtypes;
    SafetensorsMetadata metadata;
  };

  std::shared_ptr<const Contents> contents_;
};

}  // namespace midus
