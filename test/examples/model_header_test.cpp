// Runs the program model_header (cmake/model_header.cpp) on the configurations in examples/configs.
#include <filesystem>
#include <set>
#include <string>

#include "examples/program.hpp"
#include "midus/io/model_tensors.hpp"
#include "support/catch.hpp"
#include "support/llama_configs.hpp"

using namespace midus;
using namespace midus::test;

namespace {

struct Published {
  std::string name;
  Index parameters;  ///< as the models' pages say, all digits
  std::string key;
};

const Published published[] = {
    {"llama-3.1-8b", 8'030'261'248, "v128256-d4096-l32-h32-kv8-hd128-f14336-untied"},
    {"llama-3.2-1b", 1'235'814'400, "v128256-d2048-l16-h32-kv8-hd64-f8192-tied"},
    {"llama-3.2-3b", 3'212'749'824, "v128256-d3072-l28-h24-kv8-hd128-f8192-tied"},
    {"smollm2-135m", 134'515'008, "v49152-d576-l30-h9-kv3-hd64-f1536-tied"},
    {"smollm2-360m", 361'821'120, "v49152-d960-l32-h15-kv5-hd64-f2560-tied"},
    {"tinyllama-1.1b", 1'100'048'384, "v32000-d2048-l22-h32-kv4-hd64-f5632-untied"},
};
const std::filesystem::path configs = std::filesystem::path(MIDUS_SOURCE_DIR) / "examples/configs";

}  // namespace

TEST_CASE("model_header: the configurations that come with midus are those of the published models") {
  const TemporaryDirectory directory;
  std::set<std::string> tested;
  for (const auto& [name, parameters, key] : published) {
    INFO(name);
    const LlamaConfig config = read_llama_config(configs / name);
    CHECK(parameter_count(config) == parameters);
    CHECK(config.history.empty());
    const std::string path = "'" + (configs / name).string() + "'";
    CHECK(run_in(directory, MIDUS_MODEL_HEADER, path + " --key").out == key + "\n");
    CHECK(run_in(directory, MIDUS_MODEL_HEADER, path + " --out " + name + ".hpp").status == 0);
    const std::string header = file_bytes(directory / (name + ".hpp"));
    CHECK(contains(header, "shape = \"" + key + "\";"));
    CHECK(contains(header, "midus::TiedHead") == config.tie_word_embeddings);
    CHECK(contains(header, "using Model = Base;"));
    tested.insert(name);
  }
  for (const auto& entry : std::filesystem::directory_iterator(configs))
    CHECK(tested.contains(entry.path().filename().string()));
}

TEST_CASE("model_header: a type for every kind of memory, and the rule that a configuration breaks") {
  const TemporaryDirectory directory;
  const auto header_of = [&](const Json& json) {
    put_file(directory / "config.json", json.dump());
    const ProgramResult result = run_in(directory, MIDUS_MODEL_HEADER, ". --out new/model.hpp");
    return result.status == 0 ? file_bytes(directory / "new/model.hpp") : result.error;
  };
  CHECK(contains(header_of(memory(hml)),
                 "midus::HeadwiseMemory<4, /*Keys=*/8, /*TopK=*/2, midus::FactorizedValue<4>>"));
  CHECK(contains(header_of(memory(R"({"positions": [1, 3], "num_keys": 8, "top_k": 2, "value_rank": 0})")),
                 "midus::DenseValue>;\nusing Model = midus::Upscaled<Base, midus::MemoryBlock<Memory>, "
                 "midus::BeforeLayers<1, 3>>;"));
  CHECK(contains(header_of(memory(pkm)),
                 "midus::ProductKeyMemory<3, /*Keys=*/8, /*TopK=*/8, /*QueryDim=*/10>"));
  CHECK(header_of(with(base, "num_key_value_heads", "3")) ==
        "model_header: ./config.json: \"num_key_value_heads\" must be a divisor of num_attention_heads, 4, "
        "found 3\n");
  // A value policy that this program was not built with.
  CHECK(contains(
      header_of(
          memory(R"({"positions": [1], "num_keys": 8, "top_k": 2, "values": "gated", "value_rank": 3})")),
      "\"midus.values\" must be one of the value policies that this program has (dense, factorized)"));
  CHECK(run_in(directory, MIDUS_MODEL_HEADER, ".").status == 2);
}
