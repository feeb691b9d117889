// Writing safetensors files, tensor by tensor.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "midus/io/atomic_file.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"
#include "midus/io/safetensors_format.hpp"

namespace midus {

/// Writes one safetensors file whose tensors are known up front and whose bytes come one tensor, or one piece
/// of a tensor, at a time and in any order: a model larger than memory can be written. In the file the
/// tensors stand by descending item size, then by name; the header is padded to a multiple of 8, so every
/// value is aligned. The target appears in `commit()` (see `AtomicFile`).
class SafetensorsWriter {
 public:
  /// `metadata` goes out with `"format": "pt"`, without which transformers refuses a file. Throws `Error` on
  /// a name that occurs twice and on a shape that no file can hold.
  SafetensorsWriter(const std::filesystem::path& target, std::vector<TensorInfo> tensors,
                    SafetensorsMetadata metadata = {})
      : file_(target) {
    std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return std::make_tuple(-info(a.dtype).bits, std::string_view(a.name)) <
             std::make_tuple(-info(b.dtype).bits, std::string_view(b.name));
    });
    metadata["format"] = "pt";
    std::string header = "{" + member(safetensors_metadata_key) + Json(metadata).dump();
    std::uint64_t end = 0;
    for (const TensorInfo& tensor : tensors) {
      const std::string where = target.string() + ": tensor " + in_quotes(tensor.name);
      const std::uint64_t size = tensor_bytes(where, tensor.dtype, tensor.shape);
      if (size > std::uint64_t{1} << 62 || end > std::uint64_t{1} << 62)
        fail(where, ": larger than any file");
      if (tensor.name == safetensors_metadata_key) fail(where, ": this name is taken by the format");
      if (!places_.emplace(tensor.name, Place{end, size, 0}).second) fail(where, " occurs twice");
      header += "," + member(tensor.name) + R"({"dtype":")" + std::string(to_string(tensor.dtype)) +
                R"(","shape":)" + Json(tensor.shape).dump() + R"(,"data_offsets":[)" + std::to_string(end) +
                "," + std::to_string(end + size) + "]}";
      end += size;
    }
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    if (header.size() > safetensors_max_header)
      fail(target.string(), ": the header would take ", header.size(), " bytes; the format allows ",
           safetensors_max_header);
    file_.write(std::as_bytes(std::span<const std::uint64_t, 1>(std::array{std::uint64_t{header.size()}})));
    file_.write(header);
    data_starts_ = 8 + header.size();
  }

  /// The next bytes of a tensor: all of it, or pieces in their order.
  void write(std::string_view name, std::span<const std::byte> bytes) {
    const auto found = places_.find(name);
    if (found == places_.end())
      fail(file_.target().string(), ": tensor ", in_quotes(name), " was not announced");
    Place& place = found->second;
    if (bytes.size() > place.size - place.written)
      fail(file_.target().string(), ": tensor ", in_quotes(name), ": expected ", place.size, " bytes, found ",
           place.written + bytes.size());
    file_.write_at(data_starts_ + place.begin + place.written, bytes);
    place.written += bytes.size();
  }

  /// Throws `Error` where a tensor is not complete.
  void require_complete() const {
    for (const auto& [name, place] : places_)
      if (place.written != place.size)
        fail(file_.target().string(), ": tensor ", in_quotes(name), ": expected ", place.size,
             " bytes, found ", place.written);
  }

  /// Nothing more will be written: gives the file's descriptor back.
  void close() { file_.close(); }

  /// Puts the file in its place. Throws `Error` where a tensor is not complete.
  void commit() {
    require_complete();
    file_.commit();
  }

 private:
  struct Place {
    std::uint64_t begin;  ///< within the data
    std::uint64_t size;
    std::uint64_t written;
  };

  /// `"name":`, escaped.
  std::string member(std::string_view name) const {
    try {
      return Json(name).dump() + ":";
    } catch (const Json::exception&) {
      fail(file_.target().string(), ": tensor ", in_quotes(name), ": the name is not UTF-8");
    }
  }

  AtomicFile file_;
  std::map<std::string, Place, std::less<>> places_;
  std::uint64_t data_starts_ = 0;
};

}  // namespace midus
