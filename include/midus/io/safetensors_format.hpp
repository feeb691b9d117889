// What the reader and the writer of safetensors files share.
//
// A file is: u64 little-endian N; N bytes of JSON, {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets":
// [0, 24]}, ..., "__metadata__": {"key": "text"}}; then the tensors' bytes one after the other, row-major and
// little-endian. Reference: safetensors/src/tensor.rs of https://github.com/huggingface/safetensors.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "midus/core/dtype.hpp"
#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"

namespace midus {

static_assert(std::endian::native == std::endian::little,
              "midus: safetensors files are little-endian and are read as they lie in memory");

/// The `__metadata__` of a file.
using SafetensorsMetadata = std::map<std::string, std::string, std::less<>>;

/// What is known of a tensor before its values: rank 0 has an empty shape and one element.
struct TensorInfo {
  std::string name;
  Dtype dtype;
  std::vector<Index> shape;
};

inline constexpr std::uint64_t safetensors_max_header = 100'000'000;  ///< bytes; the reference's limit
inline constexpr std::size_t safetensors_max_rank = 64;               ///< ours; PyTorch's own limit
inline constexpr std::string_view safetensors_metadata_key = "__metadata__";

/// "[2, 3]", as messages print a shape.
inline std::string to_string(std::span<const Index> shape) {
  std::string out = "[";
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    out += (axis ? ", " : "") + std::to_string(shape[axis]);
  return out + "]";
}

/// How many bytes a tensor takes. Throws `Error`, its message beginning with `where`, on a negative extent,
/// on more than 2^63 - 1 elements or bytes, and where a tensor of 4- or 6-bit elements does not fill whole
/// bytes.
inline std::uint64_t tensor_bytes(std::string_view where, Dtype dtype, std::span<const Index> shape) {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<Index>::max());
  std::uint64_t elements = 1;
  bool overflow = false;
  for (const Index extent : shape) {
    if (extent < 0) fail(where, ": shape ", to_string(shape), " has a negative extent");
    const auto factor = static_cast<std::uint64_t>(extent);
    overflow = overflow || (factor != 0 && elements > most / factor);
    elements = overflow ? elements : elements * factor;
  }
  const auto bits = static_cast<std::uint64_t>(info(dtype).bits);
  if (overflow || elements > most / bits)
    fail(where, ": shape ", to_string(shape), " of ", to_string(dtype), " is larger than any file");
  if (elements * bits % 8 != 0)
    fail(where, ": shape ", to_string(shape), " of ", to_string(dtype), " takes ", elements * bits,
         " bits; expected whole bytes");
  return elements * bits / 8;
}

}  // namespace midus
