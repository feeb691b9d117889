// Any bytes as model.safetensors.index.json beside two shards: refused with an Error, or all that is found
// comes from the directory's shards.
#include "fuzz.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "support/files.hpp"

namespace {

/// A directory with the shards a.safetensors and b.safetensors, and an index that is the fuzzer's input.
struct Model {
  midus::fuzz::MemoryFile index;
  midus::test::TemporaryDirectory directory;

  Model() {
    for (const std::string shard : {"a", "b"})
      midus::test::write_checkpoint_file(directory / (shard + ".safetensors"),
                                         {{shard, midus::Dtype::f32, {2}, std::string(8, '\1')}});
    std::filesystem::create_symlink(index.path(), directory.path() / midus::weights_index_name);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Model model;
  model.index.hold({reinterpret_cast<const char*>(data), size});
  midus::fuzz::accepts([] {
    const midus::CheckpointFiles files(model.directory.path());
    for (const auto& file : files.files())
      midus::fuzz::require(file.path().parent_path() == model.directory.path());
    for (const auto& [name, located] : files.tensors())
      midus::fuzz::require((name == "a" || name == "b") && located.tensor->bytes.size() == 8);
  });
  return 0;
}
