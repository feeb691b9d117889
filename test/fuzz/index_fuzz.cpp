// Any bytes as model.safetensors.index.json beside two shards: refused with an Error, or all that is found
// comes from the directory's shards.
#include "fuzz.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/safetensors_writer.hpp"

namespace {

/// A directory with the shards a.safetensors and b.safetensors, and an index that is the fuzzer's input.
struct Model {
  midus::fuzz::MemoryFile index;
  std::filesystem::path directory;

  Model() {
    std::string name = (std::filesystem::temp_directory_path() / "midus-fuzz-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    directory = name;
    const float values[] = {1, 2};
    for (const char* shard : {"a", "b"}) {
      midus::SafetensorsWriter writer(directory / (std::string(shard) + ".safetensors"),
                                      {{shard, midus::Dtype::f32, {2}}}, {});
      writer.write(shard, std::as_bytes(std::span(values)));
      writer.commit();
    }
    std::filesystem::create_symlink(index.path(), directory / midus::weights_index_name);
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model() {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Model model;
  model.index.hold({reinterpret_cast<const char*>(data), size});
  midus::fuzz::accepts([] {
    const midus::CheckpointFiles files(model.directory);
    for (const auto& file : files.files()) midus::fuzz::require(file.path().parent_path() == model.directory);
    for (const auto& [name, located] : files.tensors())
      midus::fuzz::require((name == "a" || name == "b") && located.tensor->bytes.size() == 8);
  });
  return 0;
}
