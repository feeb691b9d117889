// Writing the weight files of a model directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iomanip>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/json.hpp"
#include "midus/io/safetensors_writer.hpp"
#include "midus/io/tensor_convert.hpp"

namespace midus {

/// transformers' own default.
inline constexpr std::uint64_t default_shard_bytes = 5'000'000'000;

/// Writes a model's tensors to `model.safetensors`, or, beyond the size limit of one shard, to
/// `model-00001-of-0000y.safetensors` ... with their index. The tensors are dealt to the shards in the order
/// given (one that is larger than the limit gets a shard of its own) and may be written in any order, also in
/// pieces. A shard that is complete is closed, so written in their order no more than one is open. Each file
/// appears whole; for a whole directory that appears at once, write into an
/// `AtomicDirectory`.
class CheckpointWriter {
 public:
  /// Throws `Error` where `directory` holds weights that a reader would take in place of, or mix with, the
  /// new ones.
  CheckpointWriter(std::filesystem::path directory, const std::vector<TensorInfo>& tensors,
                   const SafetensorsMetadata& metadata = {}, std::uint64_t shard_bytes = default_shard_bytes)
      : directory_(std::move(directory)), metadata_(metadata) {
    std::vector<std::vector<TensorInfo>> shards(1);
    std::uint64_t filled = 0;
    for (const TensorInfo& tensor : tensors) {
      const std::uint64_t size = tensor_bytes(in_quotes(tensor.name), tensor.dtype, tensor.shape);
      if (!shards.back().empty() && (size > shard_bytes || filled > shard_bytes - size)) {
        shards.emplace_back();
        filled = 0;
      }
      shards.back().push_back(tensor);
      filled += size;
      total_size_ += size;
    }
    sharded_ = shards.size() > 1;
    const std::filesystem::path stale = directory_ / (sharded_ ? single_weights_name : weights_index_name);
    std::error_code error;
    if (std::filesystem::exists(stale, error))
      fail(stale.string(), " is there and does not belong to the ", sharded_ ? "shards" : "single file",
           " about to be written; remove it or choose another directory");

    for (std::size_t i = 0; i < shards.size(); ++i) {
      const std::string name = sharded_ ? text("model-", std::setfill('0'), std::setw(5), i + 1, "-of-",
                                               std::setw(5), shards.size(), ".safetensors")
                                        : std::string(single_weights_name);
      for (const TensorInfo& tensor : shards[i])
        if (!places_.emplace(tensor.name, Place{i, name, tensor.dtype}).second)
          fail(directory_.string(), ": tensor ", in_quotes(tensor.name), " occurs twice");
      std::uint64_t missing = 0;
      for (const TensorInfo& tensor : shards[i])
        missing += tensor_bytes(in_quotes(tensor.name), tensor.dtype, tensor.shape);
      shards_.push_back({name, std::move(shards[i]), missing, std::nullopt});
    }
  }

  /// The next bytes of a tensor: all of it, or pieces of whole numbers in their order. Throws `Error` with
  /// the tensor's name where one is not finite: no program would take the model.
  void write(std::string_view name, std::span<const std::byte> bytes) {
    const auto found = places_.find(name);
    if (found == places_.end()) fail(directory_.string(), ": tensor ", in_quotes(name), " was not announced");
    Place& place = found->second;
    if (const auto at = first_not_finite(place.dtype, bytes))
      fail(directory_.string(), ": tensor ", in_quotes(name), " is not written: its element ",
           place.written / static_cast<std::uint64_t>(info(place.dtype).bits / 8) + *at, " is not finite");
    place.written += bytes.size();
    Shard& shard = shards_[place.shard];
    writer(shard).write(name, bytes);
    shard.missing -= bytes.size();
    if (shard.missing == 0) writer(shard).close();
  }

  /// The files take their places, the index last. Throws `Error` where a tensor is not complete.
  void commit() {
    for (Shard& shard : shards_) writer(shard).require_complete();
    for (Shard& shard : shards_) writer(shard).commit();
    if (!sharded_) return;
    Json index;
    index["metadata"]["total_size"] = total_size_;
    Json& weight_map = index["weight_map"] = Json::object();
    auto& members = weight_map.get_ref<Json::object_t&>();  // past the look-up of every key
    for (const auto& [name, place] : places_) members.emplace_back(name, place.file);
    write_file(directory_ / weights_index_name, dump_json(index) + "\n");
  }

 private:
  struct Shard {
    std::string name;
    std::vector<TensorInfo> tensors;
    std::uint64_t missing;                    ///< bytes that are not written yet
    std::optional<SafetensorsWriter> writer;  ///< from the first byte on
  };
  SafetensorsWriter& writer(Shard& shard) {
    if (!shard.writer) shard.writer.emplace(directory_ / shard.name, shard.tensors, metadata_);
    return *shard.writer;
  }

  struct Place {
    std::size_t shard;
    std::string file;
    Dtype dtype;
    std::uint64_t written = 0;
  };

  std::filesystem::path directory_;
  SafetensorsMetadata metadata_;
  std::vector<Shard> shards_;
  std::map<std::string, Place, std::less<>> places_;
  std::uint64_t total_size_ = 0;
  bool sharded_ = false;
};

}  // namespace midus
