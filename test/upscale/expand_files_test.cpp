#include "midus/upscale/expand_files.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;

namespace {

/// The expansion of BASE in OUT; its plan.
Plan expand(const std::filesystem::path& base_model, const std::filesystem::path& out,
            const UpscaleOptions& options, std::uint64_t shard_bytes = default_shard_bytes) {
  const ModelOnDisk model(base_model);
  const Plan plan = make_plan(model, options);
  AtomicDirectory directory(out);
  write_expanded(model, plan, directory.path(), shard_bytes);
  directory.commit();
  return plan;
}

void detach(const std::filesystem::path& model, const std::filesystem::path& out) {
  AtomicDirectory directory(out);
  write_detached(ModelOnDisk(model), directory.path());
  directory.commit();
}

/// Counts and bytes of the plan are those of the file, and every tensor is what the plan says.
void check_against_plan(const Plan& plan, const std::filesystem::path& base_model,
                        const std::filesystem::path& out) {
  const CheckpointFiles before(base_model), after(out);
  Index elements = 0;
  std::uint64_t bytes = 0;
  for (const auto& [name, located] : after.tensors()) {
    elements += element_count(located.tensor->shape);
    bytes += located.tensor->bytes.size();
  }
  CHECK(elements == plan.parameters);
  CHECK(bytes == plan.bytes);
  CHECK(after.tensors().size() == plan.tensors.size());
  std::set<std::string> copied;
  for (const PlannedTensor& tensor : plan.tensors) {
    INFO(tensor.info.name);
    const StoredTensor& found = after.at(tensor.info.name);
    CHECK(found.dtype == tensor.info.dtype);
    if (tensor.source.is_copy()) {
      CHECK(bytes_of(found) == bytes_of(before.at(tensor.source.from)));
      copied.insert(tensor.source.from);
      continue;
    }
    std::vector<double> values(static_cast<std::size_t>(element_count(found.shape)));
    fill(tensor.source, plan.seed, tensor.info.name, std::span(values));
    const auto expected = weight_bytes(std::span<const double>(values), found.dtype);
    CHECK(std::equal(found.bytes.begin(), found.bytes.end(), expected.begin(), expected.end()));
  }
  CHECK(copied.size() == before.tensors().size());  // every tensor of the base is in it
  const LlamaConfig config = read_llama_config(out);
  CHECK(config.num_hidden_layers == plan.deeper.num_hidden_layers);
  CHECK(file_bytes(out / "tokenizer.json") == file_bytes(base_model / "tokenizer.json"));
}

const UpscaleOptions hive{.positions = {0, 3}, .num_keys = 8, .top_k = 2, .value_rank = 4, .seed = 3};

}  // namespace

TEST_CASE("expand_files: the file is what the plan says, for every policy and type (DU-03)") {
  UpscaleOptions dense = hive;
  dense.value_rank = 0;
  const std::vector<UpscaleOptions> all{hive,
                                        dense,
                                        {.policy = Policy::pkm,
                                         .positions = {1},
                                         .num_keys = 8,
                                         .top_k = 2,
                                         .memory_heads = 3,
                                         .query_dim = 10},
                                        {.policy = Policy::llama_pro, .positions = {1, 3}},
                                        {.policy = Policy::solar}};
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::f64})
    for (const bool tied : {false, true})
      for (const UpscaleOptions& options : all) {
        const TemporaryDirectory directory;
        write_random_model(directory / "base", with(base, "tie_word_embeddings", tied ? "true" : "false"),
                           dtype);
        const Plan plan = expand(directory / "base", directory / "out", options);
        check_against_plan(plan, directory / "base", directory / "out");
        CHECK((CheckpointFiles(directory / "out").find("lm_head.weight") == nullptr) == tied);
      }
}

TEST_CASE("expand_files: new tensors have the base's type, and copies their own") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base, Dtype::bf16);
  expand(directory / "base", directory / "out", hive);
  const CheckpointFiles files(directory / "out");
  CHECK(files.at("model.memory_blocks.0.memory.values").dtype == Dtype::bf16);
  CHECK(files.at("model.memory_blocks.0.input_layernorm.weight").dtype == Dtype::f32);
  CHECK(files.metadata().at("made by") == "a test");
}

TEST_CASE("expand_files: detach gives the base back, byte for byte") {
  const TemporaryDirectory directory;
  for (const std::string name : {"first", "tied"}) {
    const auto base_model = directory / name;
    write_random_model(base_model, name == "tied" ? with(base, "tie_word_embeddings", "true") : base,
                       Dtype::bf16);
    // A class that Python would build other steps for than tokenizer.json has.
    put_file(base_model / "tokenizer.json",
             R"({"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": {"type": "Digits"}})");
    put_file(base_model / "tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})");
    CHECK(ModelOnDisk(base_model).warnings.size() == 1);
    expand(base_model, directory / (name + "1"), hive);
    CHECK(ModelOnDisk(directory / (name + "1")).warnings.empty());
    CHECK(read_json_file(directory / (name + "1/tokenizer_config.json"))["tokenizer_class"] ==
          "PreTrainedTokenizerFast");
    detach(directory / (name + "1"), directory / (name + "-back"));
    CHECK(all_files(directory / (name + "-back")) == all_files(base_model));
    // also after a second expansion
    expand(directory / (name + "1"), directory / (name + "2"), {.positions = {1}, .seed = 4});
    detach(directory / (name + "2"), directory / (name + "-back2"));
    CHECK(all_files(directory / (name + "-back2")) == all_files(base_model));
  }
  CHECK(message_of([&] { detach(directory / "first", directory / "no"); }) ==
        (directory / "first").string() + "/config.json: this model has no Memory blocks to detach");
  CHECK_FALSE(std::filesystem::exists(directory / "no"));
  CHECK_FALSE(left_over(directory.path()));
}

TEST_CASE("expand_files: detach leaves LLaMA-Pro's layers and their history") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base);
  const UpscaleOptions pro{.policy = Policy::llama_pro, .positions = {1}};
  expand(directory / "base", directory / "pro", pro);
  expand(directory / "base", directory / "midus", hive);
  expand(directory / "midus", directory / "both", pro);
  detach(directory / "both", directory / "back");
  CHECK(all_files(directory / "back") == all_files(directory / "pro"));
}

TEST_CASE("expand_files: expanding twice keeps what the first blocks hold") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base);
  expand(directory / "base", directory / "once", hive);
  const Plan plan = expand(directory / "once", directory / "twice", {.positions = {1}, .seed = 4});
  check_against_plan(plan, directory / "once", directory / "twice");
  const CheckpointFiles once(directory / "once"), twice(directory / "twice");
  CHECK(bytes_of(twice.at("model.memory_blocks.2.memory.row_keys")) ==
        bytes_of(once.at("model.memory_blocks.1.memory.row_keys")));
}

TEST_CASE("expand_files: bases and results in shards") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base, Dtype::f32, 200'000);
  REQUIRE(std::filesystem::exists(directory / "base/model.safetensors.index.json"));
  const Plan plan = expand(directory / "base", directory / "whole", hive);
  check_against_plan(plan, directory / "base", directory / "whole");
  CHECK_FALSE(std::filesystem::exists(directory / "whole/model.safetensors.index.json"));
  check_against_plan(expand(directory / "base", directory / "shards", hive, 200'000), directory / "base",
                     directory / "shards");
  CHECK(std::filesystem::exists(directory / "shards/model.safetensors.index.json"));
}

TEST_CASE("a model with Memory blocks carries its Python code, one without them does not") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base);
  put_file(directory / "base/notes.py", "print(1)");
  const ModelOnDisk model(directory / "base");
  AtomicDirectory deeper(directory / "deeper");
  write_expanded(model, make_plan(model, {.positions = {1}, .num_keys = 8, .top_k = 2, .value_rank = 4}),
                 deeper.path());
  deeper.commit();
  CHECK(file_bytes(directory / "deeper/modeling_midus.py") == modeling_midus_py);
  CHECK(file_bytes(directory / "deeper/configuration_midus.py") == configuration_midus_py);
  CHECK(file_bytes(directory / "deeper/notes.py") == "print(1)");
  const Json config = read_json_file(directory / "deeper/config.json");
  CHECK(config["auto_map"]["AutoModelForCausalLM"] == "modeling_midus.MidusForCausalLM");

  put_file(directory / "deeper/modeling_midus.py", "another version's");
  AtomicDirectory detached(directory / "detached");
  write_detached(ModelOnDisk(directory / "deeper"), detached.path());
  detached.commit();
  CHECK_FALSE(std::filesystem::exists(directory / "detached/modeling_midus.py"));
  CHECK(std::filesystem::exists(directory / "detached/notes.py"));
  CHECK_FALSE(read_json_file(directory / "detached/config.json").contains("auto_map"));
}
