#include "midus/upscale/compare_files.hpp"

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;

namespace {

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

/// A directory with these tensors.
CheckpointFiles files(const std::filesystem::path& path, const std::vector<TestTensor>& tensors) {
  std::filesystem::create_directories(path);
  write_checkpoint_file(path / "model.safetensors", tensors);
  return CheckpointFiles(path);
}

}  // namespace

TEST_CASE("compare_files: names, types, shapes and values") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  const TemporaryDirectory directory;
  const CheckpointFiles left = files(directory / "a", {{"same", Dtype::f32, {2}, floats({1, nan})},
                                                       {"values", Dtype::f32, {4}, floats({1, 2, 3, nan})},
                                                       {"signs", Dtype::f32, {1}, floats({0})},
                                                       {"shape", Dtype::f32, {2, 1}, floats({1, 2})},
                                                       {"type", Dtype::f32, {1}, floats({1})},
                                                       {"nan", Dtype::f32, {1}, floats({1})},
                                                       {"integers", Dtype::i32, {1}, "abcd"},
                                                       {"left", Dtype::f32, {1}, floats({1})}});
  const CheckpointFiles right =
      files(directory / "b", {{"same", Dtype::f32, {2}, floats({1, nan})},
                              {"values", Dtype::f32, {4}, floats({1.5, 2, 2.75, nan})},
                              {"signs", Dtype::f32, {1}, floats({-0.0F})},
                              {"shape", Dtype::f32, {1, 2}, floats({1, 2})},
                              {"type", Dtype::bf16, {1}, std::string("\x80\x3f", 2)},
                              {"nan", Dtype::f32, {1}, floats({nan})},
                              {"integers", Dtype::i32, {1}, "abce"},
                              {"right", Dtype::f32, {1}, floats({1})}});
  const FilesDifference all = compare_files(left, right);
  CHECK(all.equal == 1);
  CHECK(all.only_left == std::vector<std::string>{"left"});
  CHECK(all.only_right == std::vector<std::string>{"right"});
  REQUIRE(all.different.size() == 6);  // by name
  const auto find = [&](const std::string& name) {
    for (const TensorDifference& difference : all.different)
      if (difference.name == name) return difference;
    return TensorDifference{};
  };
  CHECK(find("values").differing == 2);
  CHECK(find("values").largest == 0.5);
  CHECK(find("values").elements == 4);
  CHECK(find("signs").differing == 0);
  CHECK_FALSE(find("shape").differing.has_value());
  CHECK(find("shape").left == "F32 [2, 1]");
  CHECK(find("type").differing == 0);
  CHECK(find("type").right == "BF16 [1]");
  CHECK(find("nan").differing == 1);
  CHECK(std::isnan(find("nan").largest));
  CHECK_FALSE(find("integers").differing.has_value());
  CHECK_FALSE(all.none());

  CHECK(compare_files(left, right, {"sa*"}).none());
  CHECK(compare_files(left, right, {"values", "left"}).only_right.empty());
  CHECK(compare_files(left, left).none());
  CHECK(compare_files(left, left).equal == 8);
}

TEST_CASE("differing_keys: what config.json says, not how") {
  using Keys = std::vector<std::string>;
  const auto differing = [](const Json& left, const Json& right) {
    return differing_keys(read(left), read(right));
  };
  const Json extra = with(base, "x", R"({"a": 1, "b": [1, 2.5]})");
  CHECK(differing(extra, extra).empty());
  CHECK(differing(extra, with(base, "x", R"({"b": [1, 2.5], "a": 1.0})")).empty());
  CHECK(differing(extra, with(base, "x", R"({"b": [2.5, 1], "a": 1})")) == Keys{"x"});
  CHECK(differing(extra, with(with(base, "vocab_size", "255"), "y", "1")) == Keys{"vocab_size", "x", "y"});

  // The order of keys, and a default that is written out.
  CHECK(differing(
            memory(hml),
            memory(R"({"top_k": 2, "num_keys": 8, "value_rank": 4, "memory": "hml", "positions": [1, 3]})"))
            .empty());
  CHECK(differing(memory(hml),
                  memory(R"({"positions": [1, 3], "num_keys": 8, "top_k": 1, "value_rank": 4})")) ==
        Keys{"midus"});
  CHECK(differing(base, with(base, "head_dim", "16")).empty());
  CHECK(differing(base, with(base, "bos_token_id", "[1]")).empty());

  // The spellings of transformers 4 and 5.
  const std::string llama3 =
      R"("rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                                "original_max_position_embeddings": 64)";
  const Json flat = with(with(base, "rope_scaling", "{" + llama3 + "}"), "torch_dtype", "\"bfloat16\"");
  const Json bare = with(with(base, "rope_theta", ""), "dtype", "\"bfloat16\"");
  const auto nested = [&](const std::string& theta) {
    return with(bare, "rope_parameters", "{" + llama3 + ", \"rope_theta\": " + theta + "}");
  };
  CHECK(differing(flat, nested("500000")).empty());
  CHECK(differing(nested("500000"), flat).empty());
  CHECK(differing(flat, nested("10000")) == Keys{"rope_theta"});
  CHECK(differing(base, nested("500000")) == Keys{"rope_scaling", "torch_dtype"});

  // Where Python code is named, its name counts.
  const Json code = with(memory(hml), "auto_map", R"({"AutoConfig": "mine.Config"})");
  CHECK(differing(memory(hml), code) == Keys{"auto_map"});
}
