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

TEST_CASE("differing_keys: of config.json") {
  const Json left = parse_json(R"({"a": 1, "b": 2, "c": {"d": 1}})", "left"),
             right = parse_json(R"({"b": 3, "a": 1, "c": {"d": 1}, "e": 1})", "right");
  CHECK(differing_keys(left, right) == std::vector<std::string>{"b", "e"});
  CHECK(differing_keys(left, left).empty());
}
