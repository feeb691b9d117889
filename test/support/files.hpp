// Files for tests: a directory that goes away, malformed safetensors files, and what an error said.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/safetensors_writer.hpp"

namespace midus::test {

/// A fresh directory below the system's temporary one; removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "midus-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) fail("cannot make ", name);
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  friend std::filesystem::path operator/(const TemporaryDirectory& directory, const std::string& name) {
    return directory.path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// Writes a file as it is, without the care of `AtomicFile`.
inline std::filesystem::path put_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

inline std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The bytes of a safetensors file with this header and data, whether or not they fit together.
inline std::string raw_safetensors(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes.append(header).append(data);
}

/// A tensor for `write_checkpoint_file`.
struct TestTensor {
  std::string name;
  Dtype dtype;
  std::vector<Index> shape;
  std::string bytes;
};

/// A well-formed safetensors file.
inline void write_checkpoint_file(const std::filesystem::path& path, const std::vector<TestTensor>& tensors,
                                  const SafetensorsMetadata& metadata = {}) {
  std::vector<TensorInfo> infos;
  for (const TestTensor& tensor : tensors) infos.push_back({tensor.name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(path, infos, metadata);
  for (const TestTensor& tensor : tensors) writer.write(tensor.name, std::as_bytes(std::span(tensor.bytes)));
  writer.commit();
}

/// Whether some writer left a temporary file or directory in `directory`.
inline bool left_over(const std::filesystem::path& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().filename().string().find(".tmp") != std::string::npos) return true;
  return false;
}

/// What the `Error` says that `f` throws; "nothing was thrown" where it throws none.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace midus::test
