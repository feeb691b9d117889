// The weight files of a model directory, read as one.
#pragma once

#include <cstddef>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json_object.hpp"
#include "midus/io/safetensors.hpp"

namespace midus {

inline constexpr std::string_view single_weights_name = "model.safetensors";
inline constexpr std::string_view weights_index_name = "model.safetensors.index.json";
inline constexpr std::string_view adapter_config_name = "adapter_config.json";  ///< of PEFT

/// A shard's name out of an index, checked: it must name a file in the model's directory or below it.
/// Symbolic links are followed, also out of the directory: the Hub's cache is made of them, and whoever can
/// place a link can place a file. Throws `Error` with the index and the entry.
inline std::filesystem::path checked_shard_name(const std::string& index, std::string_view tensor,
                                                const std::string& name) {
  const std::filesystem::path path(name);
  bool inside =
      !name.empty() && name.find('\0') == std::string::npos && path.is_relative() && path.has_filename();
  for (const std::filesystem::path& part : path) inside = inside && part != ".." && part != ".";
  if (!inside)
    fail(index, ": weight_map entry ", in_quotes(tensor),
         ": expected the name of a file in this directory, found ", in_quotes(name));
  return path;
}

/// Whether a directory holds weights, and not a config.json alone.
inline bool holds_weights(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::exists(directory / single_weights_name, error) ||
         std::filesystem::exists(directory / weights_index_name, error);
}

/// All tensors of a model: `model.safetensors` where it is there (as transformers does), else the shards that
/// `model.safetensors.index.json` names; never a mixture. Every file is opened and checked in the
/// constructor.
class CheckpointFiles {
 public:
  struct Located {
    const StoredTensor* tensor;
    const SafetensorsFile* file;
  };
  using Tensors = std::map<std::string, Located, std::less<>>;

  /// `directory`: the model's. Throws `Error` where there is no model, where an adapter would make another
  /// model of it, or where a file or the index is not right.
  explicit CheckpointFiles(std::filesystem::path directory) : directory_(std::move(directory)) {
    std::error_code error;
    if (!std::filesystem::is_directory(directory_, error))
      fail(directory_.string(), ": expected the directory of a model");
    const std::filesystem::path single = directory_ / single_weights_name,
                                index = directory_ / weights_index_name;
    const bool has_index = std::filesystem::exists(index, error);
    if (std::filesystem::exists(directory_ / adapter_config_name, error))
      fail(directory_.string(), ": expected a model, found an adapter of PEFT (", adapter_config_name, ")",
           holds_weights(directory_) ? " beside its weights, which transformers then applies to them" : "",
           "; midus has no adapters: merge it into the weights (merge_and_unload and save_pretrained in "
           "Python), "
           "or move it away if the model is to be read without it");
    if (std::filesystem::exists(single, error)) {
      add(single);
      if (has_index)
        warnings_.push_back(index.string() + " is not used: " + std::string(single_weights_name) +
                            " is beside it, and comes first");
    } else if (has_index) {
      add_shards(index);
    } else {
      fail(directory_.string(), ": expected ", single_weights_name, " or ", weights_index_name,
           ", found neither",
           std::filesystem::exists(directory_ / "pytorch_model.bin", error)
               ? " (pytorch_model.bin must be converted to safetensors first)"
               : "");
    }
  }
  // Tensors point into the files: moving keeps them where they are, copying would not.
  CheckpointFiles(CheckpointFiles&&) = default;
  CheckpointFiles& operator=(CheckpointFiles&&) = default;

  const std::filesystem::path& directory() const { return directory_; }
  /// By name, over all files.
  const Tensors& tensors() const { return tensors_; }
  /// The files that were read.
  const std::deque<SafetensorsFile>& files() const { return files_; }
  /// Sentences for the user: what was found and passed over.
  const std::vector<std::string>& warnings() const { return warnings_; }
  /// The metadata of the first file.
  const SafetensorsMetadata& metadata() const { return files_.front().metadata(); }

  /// Throws where no file has such a tensor.
  const Located& locate(std::string_view name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail(directory_.string(), ": tensor ", in_quotes(name), " is missing");
    return found->second;
  }
  const StoredTensor& at(std::string_view name) const { return *locate(name).tensor; }
  /// Null where no file has such a tensor.
  const StoredTensor* find(std::string_view name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : found->second.tensor;
  }
  /// "model/model.safetensors: tensor "model.norm.weight"", how a message begins that is about this tensor.
  std::string where(std::string_view name) const {
    const auto found = tensors_.find(name);
    const std::filesystem::path& path = found == tensors_.end() ? directory_ : found->second.file->path();
    return path.string() + ": tensor " + in_quotes(name);
  }

 private:
  void add(const std::filesystem::path& path) {
    const SafetensorsFile& file = files_.emplace_back(path);
    for (const auto& [name, tensor] : file.tensors()) {
      const auto [place, is_new] = tensors_.emplace(name, Located{&tensor, &file});
      if (!is_new)
        fail(path.string(), ": tensor ", in_quotes(name), " is also in ",
             place->second.file->path().string());
    }
  }

  void add_shards(const std::filesystem::path& index_path) {
    const std::string index_name = index_path.string();
    const Json json = read_json_file(index_path, {.bytes = std::size_t{64} << 20});
    const JsonObject weight_map = JsonObject(json, index_name).object("weight_map");
    std::map<std::string, std::string> wanted;            // tensor -> shard
    std::map<std::filesystem::path, std::string> shards;  // shard -> a tensor that the index puts there
    for (auto item = weight_map.json().begin(); item != weight_map.json().end(); ++item) {
      if (!item->is_string())
        fail(index_name, ": weight_map entry ", in_quotes(item.key()), ": expected a file's name, found ",
             found_text(*item));
      const auto& shard = item->get_ref<const std::string&>();
      shards.emplace(checked_shard_name(index_name, item.key(), shard), item.key());
      wanted.emplace(item.key(), shard);
    }
    if (shards.empty()) fail(index_name, ": weight_map names no file");

    std::error_code error;
    for (const auto& [shard, tensor] : shards) {
      if (!std::filesystem::exists(directory_ / shard, error))
        fail(index_name, ": weight_map puts ", in_quotes(tensor), " into ", in_quotes(shard.string()),
             "; there is no such file");
      add(directory_ / shard);
    }
    for (const auto& [name, shard] : wanted) {
      const auto found = tensors_.find(name);
      if (found == tensors_.end() || found->second.file->path() != directory_ / shard)
        fail(index_name, ": weight_map puts ", in_quotes(name), " into ", in_quotes(shard), "; found ",
             found == tensors_.end() ? "it in no shard" : "it in " + found->second.file->path().string());
    }
    // As transformers, which reads whole shards: whether the model wants them is `check_tensors`' affair.
    for (const auto& [name, located] : tensors_)
      if (!wanted.contains(name))
        warnings_.push_back(located.file->path().string() + ": tensor " + in_quotes(name) +
                            " is not named by the index");
  }

  std::filesystem::path directory_;
  std::deque<SafetensorsFile> files_;  // grows without moving them
  Tensors tensors_;
  std::vector<std::string> warnings_;
};

}  // namespace midus
