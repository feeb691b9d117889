// Reading safetensors files.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "midus/io/in_quotes.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/io/safetensors_format.hpp"
#include "midus/io/safetensors_header.hpp"

namespace midus {

/// A tensor in a mapped file. `bytes` is aligned to nothing: read elements with `memcpy`, as
/// `io/tensor_convert.hpp` does.
struct StoredTensor {
  Dtype dtype;
  std::vector<Index> shape;
  std::span<const std::byte> bytes;
};

/// An open safetensors file. Everything about it is checked before the constructor returns (the rules of
/// docs/checkpoint.md): header, types, shapes, offsets, and that the file is exactly as long as its header
/// says. The values themselves are read only when they are touched.
class SafetensorsFile {
 public:
  using Tensors = std::map<std::string, StoredTensor, std::less<>>;

  /// Throws `Error` with the file, the tensor, what was expected and what was found.
  explicit SafetensorsFile(const std::filesystem::path& path) : file_(path) {
    const std::string name = path.string();
    const std::span<const std::byte> bytes = file_.bytes();
    std::uint64_t length = 0;
    if (bytes.size() < sizeof length)
      fail(name, ": expected at least 8 bytes of a safetensors file, found ", bytes.size());
    if (file_.text().starts_with("version https://git-lfs"))
      fail(name,
           ": expected a safetensors file, found Git LFS's pointer to one; get the file by `git lfs pull`");
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > safetensors_max_header)
      fail(name, ": expected a header of at most ", safetensors_max_header, " bytes, found ", length,
           " (is it a safetensors file?)");
    if (length > bytes.size() - sizeof length)
      fail(name, ": the header takes ", length, " bytes; the file has only ", bytes.size() - sizeof length,
           " after its first 8");
    const auto header_length = static_cast<std::size_t>(length);
    const auto* const start = reinterpret_cast<const char*>(bytes.data() + sizeof length);
    if (header_length == 0 || *start != '{')
      fail(name, ": expected a header that begins with {, found ",
           header_length == 0 ? "an empty one" : in_quotes({start, 1}));

    JsonSource source{{start, header_length}, name};
    SafetensorsHeaderHandler header(source);
    scan_json(source, header);
    metadata_ = std::move(header.metadata);
    place(std::move(header.entries), bytes.subspan(sizeof length + header_length),
          sizeof length + header_length);
  }

  const std::filesystem::path& path() const { return file_.path(); }
  const Tensors& tensors() const { return tensors_; }
  const SafetensorsMetadata& metadata() const { return metadata_; }

  /// Gives back the memory behind a part of a tensor's bytes; see `MappedFile`.
  void release(std::span<const std::byte> part) const { file_.release(part); }

  /// Null where the file has no such tensor.
  const StoredTensor* find(std::string_view name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second;
  }
  /// Throws where the file has no such tensor.
  const StoredTensor& at(std::string_view name) const {
    if (const StoredTensor* tensor = find(name)) return *tensor;
    fail(path().string(), ": tensor ", in_quotes(name), " is missing");
  }

 private:
  /// Checks that the entries cover `data` without hole or overlap, and makes them spans of it.
  void place(std::vector<SafetensorsEntry> entries, std::span<const std::byte> data,
             std::size_t data_starts) {
    const std::string file = path().string();
    std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
      return std::tie(a.begin, a.end, a.info.name) < std::tie(b.begin, b.end, b.info.name);
    });
    std::uint64_t end = 0;
    for (const SafetensorsEntry& entry : entries) {
      const std::string where = file + ": tensor " + in_quotes(entry.info.name);
      const std::string offsets = text("[", entry.begin, ", ", entry.end, "]");
      if (entry.end < entry.begin) fail(where, ": data_offsets ", offsets, " end before they begin");
      const std::uint64_t size = tensor_bytes(where, entry.info.dtype, entry.info.shape);
      if (entry.end - entry.begin != size)
        fail(where, ": shape ", to_string(entry.info.shape), " of ", to_string(entry.info.dtype), " takes ",
             size, " bytes; data_offsets ", offsets, " hold ", entry.end - entry.begin);
      if (entry.begin != end)
        fail(where, ": data_offsets ", offsets, " must begin at ", end,
             ", where the tensor before it ends (no ", entry.begin > end ? "hole" : "overlap",
             " is allowed)");
      end = entry.end;
    }
    if (end != data.size()) {
      const auto cut = std::find_if(entries.begin(), entries.end(),
                                    [&](const SafetensorsEntry& entry) { return entry.end > data.size(); });
      fail(file, ": expected ", end, " bytes of tensors after ", data_starts, " of header, found ",
           data.size(),
           cut == entries.end() ? std::string()
                                : "; the file ends inside tensor " + in_quotes(cut->info.name));
    }
    for (SafetensorsEntry& entry : entries)
      tensors_.emplace(std::move(entry.info.name),
                       StoredTensor{entry.info.dtype, std::move(entry.info.shape),
                                    data.subspan(static_cast<std::size_t>(entry.begin),
                                                 static_cast<std::size_t>(entry.end - entry.begin))});
  }

  MappedFile file_;
  Tensors tensors_;
  SafetensorsMetadata metadata_;
};

}  // namespace midus
