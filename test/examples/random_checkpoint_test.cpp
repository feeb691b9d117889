// Runs the program `random_checkpoint` (examples/random_checkpoint.cpp) as a user does.
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "examples/program.hpp"
#include "midus/core/random.hpp"
#include "support/catch.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;

namespace {

ProgramResult random_checkpoint(const TemporaryDirectory& directory, const std::string& arguments) {
  return run_in(directory, MIDUS_RANDOM_CHECKPOINT, arguments);
}

std::vector<double> values_of(const CheckpointFiles& files, const std::string& name) {
  const StoredTensor& tensor = files.at(name);
  std::vector<double> values(static_cast<std::size_t>(element_count(tensor.shape)));
  read_weights(tensor.dtype, tensor.bytes, std::span(values));
  return values;
}

}  // namespace

TEST_CASE("random_checkpoint: every tensor that a config.json says, of every kind") {
  const TemporaryDirectory directory;
  const std::string dense = R"({"positions": [2], "num_keys": 8, "top_k": 2, "value_rank": 0})";
  for (const Json& json :
       {base, memory(hml), memory(dense), memory(pkm), with(base, "tie_word_embeddings", "true")}) {
    put_file(directory / "config.json", json.dump());
    const ProgramResult result = random_checkpoint(directory, "config.json out --force");
    INFO(result.error);
    REQUIRE(result.status == 0);
    CHECK(result.error.empty());
    const ModelOnDisk model(directory / "out");  // checks every tensor
    CHECK(model.files.tensors().size() == parameter_shapes(model.config).size());
    CHECK(contains(result.out,
                   " parameters in " + std::to_string(model.files.tensors().size()) + " tensors, F32, "));
    CHECK(std::filesystem::exists(directory / "out/modeling_midus.py") == model.config.memory.has_value());
    for (const auto& [name, located] : model.files.tensors()) {
      INFO(name);
      const std::vector<double> values = values_of(model.files, name);
      double sum = 0, squares = 0;
      for (const double value : values) sum += value, squares += value * value;
      const auto count = static_cast<double>(values.size());
      if (name.ends_with("norm.weight")) {
        CHECK(sum == count);
        CHECK(squares == count);
        continue;
      }
      // Six standard deviations of the mean, and of the mean square, of that many normal numbers.
      CHECK(std::abs(sum / count) < 6 * 0.02 / std::sqrt(count));
      CHECK(std::abs(squares / count / (0.02 * 0.02) - 1) < 6 * std::sqrt(2 / count));
    }
  }
  CHECK_FALSE(left_over(directory.path()));
}

TEST_CASE("random_checkpoint: values depend on seed, name and index alone") {
  const TemporaryDirectory directory;
  put_file(directory / "config.json",
           with(with(memory(hml), "initializer_range", "0.5"), "torch_dtype", "\"bfloat16\"").dump());
  CHECK(random_checkpoint(directory, "config.json one --seed 7 --threads 1").status == 0);
  CHECK(random_checkpoint(directory, ". two --seed 7 --threads 3").status == 0);
  CHECK((all_files(directory / "one") == all_files(directory / "two")));  // prints no weights
  CHECK(random_checkpoint(directory, ". shards --seed 7 --shard-size 40KB").status == 0);
  CHECK(random_checkpoint(directory, ". other --seed 8").status == 0);
  CHECK(random_checkpoint(directory, ". wide --seed 7 --dtype float64").status == 0);
  CHECK(random_checkpoint(directory, ". small --seed 7 --std 0.25 --dtype float32").status == 0);
  const CheckpointFiles one(directory / "one"), shards(directory / "shards"), other(directory / "other"),
      wide(directory / "wide"), small(directory / "small");
  CHECK(shards.files().size() > 5);
  for (const auto& [name, located] : one.tensors()) {
    CHECK(located.tensor->dtype == Dtype::bf16);
    CHECK((bytes_of(*located.tensor) == bytes_of(shards.at(name))));
    CHECK((bytes_of(*located.tensor) == bytes_of(other.at(name))) == name.ends_with("norm.weight"));
  }
  const std::string name = "model.embed_tokens.weight";  // longer than what one thread takes at a time
  const std::vector<double> expected = values_of(wide, name), rounded = values_of(one, name),
                            halved = values_of(small, name);
  const Random random(7, name);
  Index wrong = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const float normal = random.normals(static_cast<Index>(i / 4))[i % 4];
    wrong += expected[i] != static_cast<double>(0.5f * normal);
    wrong += rounded[i] != static_cast<double>(bfloat16::from(0.5f * normal).to_float());
    wrong += halved[i] != expected[i] / 2;
  }
  CHECK(wrong == 0);
  CHECK(read_llama_config(directory / "wide").dtype == Dtype::f64);
  CHECK(read_llama_config(directory / "wide").original["torch_dtype"] == "float64");
}

TEST_CASE("random_checkpoint: what is in the way stays, and what is wrong is said") {
  const TemporaryDirectory directory;
  put_file(directory / "config.json", base.dump());
  const std::string tokenizer = R"({"model": {"vocab": {"a": 255}, "merges": []}})";
  put_file(directory / "some.json", tokenizer);
  put_file(directory / "large.json", R"({"model": {"vocab": {"a": 256}, "merges": []}})");
  put_file(directory / "none of it.json", "{\"a\": \"tokenizer\"}");
  CHECK(random_checkpoint(directory, "config.json out --tokenizer some.json").status == 0);
  CHECK(file_bytes(directory / "out/tokenizer.json") == tokenizer);
  const auto before = all_files(directory / "out");
  const auto error = [&](const std::string& arguments) {
    const ProgramResult result = random_checkpoint(directory, arguments);
    CHECK(result.status == 1);
    return result.error;
  };
  CHECK(error("config.json out --seed 1") ==
        "random_checkpoint: out exists already; choose another name, or replace it with --force\n");
  CHECK(contains(error("out/config.json out --force"), "itself"));
  std::filesystem::create_directory(directory / "mine");
  put_file(directory / "mine/notes.txt", "mine");
  CHECK(contains(error("config.json mine --force"), "holds no config.json"));
  CHECK(contains(error("config.json new --tokenizer none.json"), "cannot open none.json"));
  CHECK(
      contains(error("config.json new --tokenizer large.json"), "has ids up to 256, the model a vocabulary"));
  CHECK(contains(error("config.json new --tokenizer 'none of it.json'"), "\"a\" is not known"));
  CHECK(contains(error("config.json new --dtype int8"),
                 "--dtype must be one of float64,float32,float16,bfloat16, found \"int8\""));
  CHECK(contains(error("config.json new --std -1"), "--std must be a number from 0 to 1e+06, found \"-1\""));
  CHECK(
      contains(error("config.json new --std 1000000 --dtype float16"), "cannot be written as F16: element "));
  for (const char* const bad : {"-5", "''", "MB", "0x10", "99999999999999999999", "0"})
    CHECK(contains(error(std::string("config.json new --shard-size ") + bad), "--shard-size"));
  CHECK(contains(error("config.json new --seed 1.5"), "--seed must be an integer"));
  CHECK(contains(error("none new"), "none"));
  put_file(directory / "config.json", with(base, "initializer_range", "\"wide\"").dump());
  CHECK(contains(error("config.json new"), "config.json: \"initializer_range\" must be a number"));
  CHECK_FALSE(std::filesystem::exists(directory / "new"));
  CHECK_FALSE(left_over(directory.path()));
  CHECK((all_files(directory / "out") == before));
  CHECK(random_checkpoint(directory, "--help").status == 0);
}

TEST_CASE("random_checkpoint: a signal leaves nothing") {
  const TemporaryDirectory directory;  // 270 MB, seconds of work, of which this sees the beginning
  const ProgramResult ended = terminate_in(directory, MIDUS_RANDOM_CHECKPOINT,
                                           MIDUS_SOURCE_DIR "/examples/configs/smollm2-135m out", "out*");
  CHECK(ended.status == 128 + 15);
  CHECK(contains(ended.error, "Stopping; nothing is written."));
  CHECK_FALSE(std::filesystem::exists(directory / "out"));
  CHECK_FALSE(left_over(directory.path()));
}
