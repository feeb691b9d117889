#include "midus/io/llama_config_reader.hpp"

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/llama_configs.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

std::string refusal(const Json& json) {
  return message_of([&] { read(json); });
}

}  // namespace

TEST_CASE("A configuration as data") {
  const LlamaConfig config = read(base);
  CHECK(config.vocab_size == 256);
  CHECK(config.hidden_size == 64);
  CHECK(config.intermediate_size == 176);
  CHECK(config.num_hidden_layers == 4);
  CHECK(config.num_attention_heads == 4);
  CHECK(config.num_key_value_heads == 2);
  CHECK(config.head_dim == 16);
  CHECK(config.rms_norm_eps == 1e-5);
  CHECK(config.rope == RopeSettings{500000.0, {}});
  CHECK(config.max_position_embeddings == 512);
  CHECK(config.bos_token_ids == std::vector<Index>{1});
  CHECK(config.eos_token_ids == std::vector<Index>{2, 3});
  CHECK_FALSE(config.tie_word_embeddings);
  CHECK_FALSE(config.dtype);
  CHECK_FALSE(config.memory);
  CHECK(config.history.empty());
}

TEST_CASE("AR-06: null and absent are the same, what is not honoured is refused by name") {
  for (const char* value : {"null", ""}) {
    Json json = base;
    for (const char* key :
         {"head_dim", "num_key_value_heads", "rope_scaling", "sliding_window", "torch_dtype",
          "quantization_config", "tie_word_embeddings", "eos_token_id", "midus"})
      json = with(json, key, value);
    json["pretraining_tp"] = 1;
    json["attention_bias"] = json["mlp_bias"] = false;
    json["attention_dropout"] = 0.0;
    const LlamaConfig config = read(json);
    CHECK(config.head_dim == 16);
    CHECK(config.num_key_value_heads == 4);
    CHECK(config.eos_token_ids.empty());
  }
  CHECK(refusal(with(base, "hidden_act", "\"swish\"")) == "nothing was thrown");
  const std::pair<const char*, const char*> refused[] = {
      {"attention_bias", "true"},
      {"mlp_bias", "true"},
      {"attention_bias", "\"false\""},
      {"hidden_act", "\"gelu\""},
      {"sliding_window", "4096"},
      {"quantization_config", R"({"bits": 4})"},
      {"attention_dropout", "0.1"},
      {"partial_rotary_factor", "0.5"},
      {"model_type", "\"mistral\""},
      {"model_type", "\"midus\""},
      {"architectures", R"(["LlamaForSequenceClassification"])"},
      {"layer_types", R"(["full_attention", "sliding_attention"])"},
      {"torch_dtype", "\"float8_e4m3fn\""},
      {"dtype", "16"}};
  for (const auto& [key, value] : refused)
    CHECK_THAT(refusal(with(base, key, value)),
               Contains("config.json: \"" + std::string(key) + "\" must be") &&
                   Contains("found " + found_text(parse_json(value, "the test"))));
}

TEST_CASE("LD-13: a configuration that cannot be is refused by field, value and rule") {
  const std::tuple<const char*, const char*, const char*> refused[] = {
      {"num_key_value_heads", "0", "an integer from 1 to 4, found 0"},
      {"num_key_value_heads", "3", "a divisor of num_attention_heads, 4, found 3"},
      {"num_key_value_heads", "8", "from 1 to 4, found 8"},
      {"num_attention_heads", "0", "from 1"},
      {"head_dim", "0", "from 2 to 8192, found 0"},
      {"head_dim", "1", "found 1"},
      {"head_dim", "7", "even"},
      {"num_hidden_layers", "0", "found 0"},
      {"vocab_size", "0", "found 0"},
      {"vocab_size", "", "\"vocab_size\" is missing; expected an integer"},
      {"hidden_size", "-64", "found -64"},
      {"hidden_size", "66", "a multiple of num_attention_heads, 4"},
      {"hidden_size", "64.5", "found 64.5"},
      {"hidden_size", "\"64\"", "found \"64\""},
      {"hidden_size", "true", "found true"},
      {"hidden_size", "1e300", "found 1e+300"},
      {"hidden_size", "Infinity", "found Infinity"},
      {"rms_norm_eps", "0", "greater than 0"},
      {"rms_norm_eps", "-1", "found -1"},
      {"rms_norm_eps", "\"1e-5\"", "found \"1e-5\""},
      {"rms_norm_eps", "NaN", "found NaN"},
      {"rope_theta", "0", "greater than 0"},
      {"rope_theta", "Infinity", "found Infinity"},
      {"intermediate_size", "1099511627776", "found 1099511627776"},
      {"intermediate_size", "18446744073709551615", "found 18446744073709551615"},
      {"max_position_embeddings", "0", "found 0"},
      {"bos_token_id", "256", "from 0 to 255, found 256"},
      {"eos_token_id", "[2, -1]", "from 0 to 255, found [2, -1]"},
      {"tie_word_embeddings", "1", "true or false, found 1"},
  };
  for (const auto& [key, value, rule] : refused) {
    INFO(key << " " << value);
    CHECK_THAT(refusal(with(base, key, value)),
               Contains("config.json: \"" + std::string(key) + "\"") && Contains(rule));
  }
  CHECK_THAT(refusal(with(with(base, "num_attention_heads", "6"), "num_key_value_heads", "4")),
             Contains("\"num_key_value_heads\" must be a divisor of num_attention_heads, 6, found 4"));
  CHECK_THAT(refusal(with(base, "hidden_size", "4")), Contains("\"head_dim\""));  // 4 heads of width 1
  CHECK(read(with(base, "head_dim", "20")).head_dim == 20);
  CHECK_THAT(refusal(Json::array()), Contains("config.json: the file must be an object"));
}

TEST_CASE("LD-10: integers as Python's float, and literals that are not JSON") {
  const TemporaryDirectory directory;
  const auto path = directory / "config.json";
  const auto load = [&](const std::string& text) {
    put_file(path, text);
    return read_llama_config(directory.path());
  };
  std::string good = base.dump();
  const auto insert = [&](const std::string& member) {
    return good.substr(0, good.size() - 1) + "," + member + "}";
  };
  CHECK(load("\xef\xbb\xbf" + good).vocab_size == 256);
  CHECK(load(insert(R"("foo": [0.0, Infinity])")).vocab_size == 256);
  CHECK(load(insert(R"("initializer_range": NaN)")).vocab_size == 256);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  CHECK(load(replaced("\"vocab_size\":256", "\"vocab_size\":1e5")).vocab_size == 100000);
  CHECK(load(replaced("\"vocab_size\":256", "\"vocab_size\":128256.0")).vocab_size == 128256);
  CHECK_THAT(message_of([&] { load(replaced("\"vocab_size\":256", "\"vocab_size\":128256.5")); }),
             Contains("\"vocab_size\"") && Contains("found 128256.5"));
  CHECK_THAT(message_of([&] { load(insert("\"hidden_size\": 64")); }),
             Contains(path.string() + ", line 1, column ") && Contains("\"hidden_size\" occurs twice"));
  CHECK_THAT(message_of([&] { load(good.substr(0, good.size() - 1) + ",}"); }),
             Contains(path.string() + ", line 1, column " + std::to_string(good.size() + 1) + ": not JSON"));
  CHECK_THAT(message_of([&] { load(""); }), Contains("not JSON"));
  CHECK_THAT(message_of([&] { read_llama_config(directory / "none"); }), Contains("No such file"));
}

TEST_CASE("AR-02: rope settings in both spellings, and what is refused") {
  const std::string numbers =
      R"("factor": 32, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192)";
  const auto scaled = [&](const std::string& scaling) { return with(base, "rope_scaling", scaling); };
  const RopeSettings plain{500000, {}}, llama3{500000, Llama3Scaling{32, 1, 4, 8192}};
  for (const char* scaling : {"null", "", R"({"rope_type": "default"})", R"({"type": "default"})", "{}"})
    CHECK(read(scaled(scaling)).rope == plain);
  for (const char* type : {R"("rope_type": "llama3", )", R"("type": "llama3", )",
                           R"("rope_type": "llama3", "type": "llama3", )"})
    CHECK(read(scaled("{" + std::string(type) + numbers + "}")).rope == llama3);

  // transformers 5
  const Json without_theta = with(base, "rope_theta", "");
  const auto nested = [&](const std::string& members) {
    return with(without_theta, "rope_parameters", "{" + members + "}");
  };
  CHECK(read(nested(R"("rope_theta": 500000, "rope_type": "llama3", )" + numbers)).rope == llama3);
  CHECK(read(nested(R"("rope_theta": 500000.0, "rope_type": "default")")).rope == plain);
  CHECK(read(nested(R"("rope_theta": 500000.0)")).rope == plain);
  CHECK(read(nested(R"("rope_type": "default")")).rope == RopeSettings{10000, {}});
  CHECK(read(with(base, "rope_parameters", R"({"rope_type": "default", "rope_theta": 500000})")).rope ==
        plain);

  const std::pair<std::string, const char*> refused[] = {
      {R"({"rope_type": "llama3", "type": "linear", )" + numbers + "}", "\"rope_scaling.type\""},
      {R"({"type": "linear", "factor": 2.0})",
       "\"rope_scaling.type\" must be \"llama3\" or \"default\", found \"linear\""},
      {R"({"rope_type": "dynamic", "factor": 2})", "found \"dynamic\""},
      {R"({"rope_type": "yarn", "factor": 4})", "found \"yarn\""},
      {R"({"factor": 4})", "\"rope_scaling.rope_type\" is missing"},
      {R"({"rope_type": "default", "factor": 4})", "\"rope_scaling.factor\""},
      {R"({"rope_type": "llama3", "factor": 8, "high_freq_factor": 4, "original_max_position_embeddings": 8192})",
       "\"rope_scaling.low_freq_factor\" is missing"},
      {R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4})",
       "\"rope_scaling.original_max_position_embeddings\" is missing"},
      {R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4, "original_max_position_embeddings": 8192})",
       "\"rope_scaling.low_freq_factor\" must be less than high_freq_factor, 4, found 4"},
      {R"({"rope_type": "llama3", "attention_factor": 2, )" + numbers + "}",
       "\"rope_scaling.attention_factor\" is not known"},
      {R"({"rope_type": "llama3", "partial_rotary_factor": 0.5, )" + numbers + "}", "partial_rotary_factor"},
      {R"({"rope_type": 3})", "\"rope_scaling.rope_type\" must be a text"},
      {"[]", "\"rope_scaling\" must be an object"}};
  for (const auto& [scaling, message] : refused) CHECK_THAT(refusal(scaled(scaling)), Contains(message));
  CHECK_THAT(refusal(with(base, "rope_parameters", R"({"rope_theta": 10000})")),
             Contains("\"rope_theta\" must be the same"));
}

TEST_CASE("both spellings of RoPE side by side are read where they say the same") {
  const std::string numbers =
      R"("factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64)";
  const auto both = [](const std::string& theta, const std::string& scaling, const std::string& parameters) {
    return with(with(with(base, "rope_theta", theta), "rope_scaling", scaling), "rope_parameters",
                parameters);
  };
  const RopeSettings plain{500000, {}}, llama3{500000, Llama3Scaling{8, 1, 4, 64}};
  const std::string scaled = R"({"rope_type": "llama3", )" + numbers + "}";
  CHECK(read(both("500000.0", scaled, R"({"rope_theta": 500000, "rope_type": "llama3", )" + numbers + "}"))
            .rope == llama3);
  CHECK(read(both("", R"({"type": "llama3", )" + numbers + "}",
                  R"({"rope_type": "llama3", "rope_theta": 5e5, "factor": 8, "low_freq_factor": 1, )"
                  R"("high_freq_factor": 4, "original_max_position_embeddings": 64.0})"))
            .rope == llama3);
  CHECK(read(both("500000", scaled, scaled)).rope == llama3);
  for (const char* const scaling : {"{}", "null", R"({"type": "default"})", R"({"rope_theta": 500000})"})
    CHECK(read(both("500000", scaling, R"({"rope_type": "default", "rope_theta": 500000})")).rope == plain);

  const auto with_theta = [&](const std::string& theta, const std::string& members) {
    return "{\"rope_theta\": " + theta + ", " + members + "}";
  };
  const std::string newer = R"("rope_type": "llama3", )" + numbers;
  const std::tuple<std::string, std::string, std::string, const char*> refused[] = {
      {"10000", scaled, with_theta("500000", newer),
       "\"rope_theta\" must be the same as \"rope_parameters.rope_theta\" (500000), found 10000"},
      {"", R"({"rope_theta": 20000})", R"({"rope_theta": 10000})",
       "\"rope_scaling.rope_theta\" must be the same as \"rope_parameters.rope_theta\" (10000), found 20000"},
      {"500000", scaled, R"({"rope_theta": 500000})",
       "\"rope_scaling.rope_type\" must be the same as \"rope_parameters.rope_type\", \"default\", found "
       "\"llama3\""},
      {"500000", R"({"type": "default"})", with_theta("500000", newer),
       "\"rope_scaling.type\" must be the same as \"rope_parameters.rope_type\", \"llama3\", found "
       "\"default\""},
      {"500000",
       R"({"rope_type": "llama3", "factor": 32, "low_freq_factor": 1, "high_freq_factor": 4, )"
       R"("original_max_position_embeddings": 64})",
       with_theta("500000", newer),
       "\"rope_scaling.factor\" must be the same as \"rope_parameters.factor\", 8, found 32"},
      {"500000",
       R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 2, "high_freq_factor": 4, )"
       R"("original_max_position_embeddings": 64})",
       with_theta("500000", newer),
       "\"rope_scaling.low_freq_factor\" must be the same as \"rope_parameters.low_freq_factor\", 1, found "
       "2"},
      {"500000",
       R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 8, )"
       R"("original_max_position_embeddings": 64})",
       with_theta("500000", newer), "\"rope_parameters.high_freq_factor\", 4, found 8"},
      {"500000",
       R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, )"
       R"("original_max_position_embeddings": 8192})",
       with_theta("500000", newer), "\"rope_parameters.original_max_position_embeddings\", 64, found 8192"},
      {"500000", R"({"type": "linear", "factor": 2})", with_theta("500000", newer),
       "\"rope_scaling.type\" must be \"llama3\" or \"default\", found \"linear\""}};
  for (const auto& [theta, scaling, parameters, message] : refused)
    CHECK_THAT(refusal(both(theta, scaling, parameters)), Contains(message));
}

TEST_CASE("a \"dtype\" that is not the \"torch_dtype\" beside it is a warning") {
  const LlamaConfig config = read(with(with(base, "torch_dtype", "\"float32\""), "dtype", "\"bfloat16\""));
  CHECK(config.dtype == Dtype::bf16);
  REQUIRE(config.warnings.size() == 1);
  CHECK_THAT(config.warnings[0],
             Contains("config.json: \"dtype\" is \"bfloat16\" and \"torch_dtype\" \"float32\""));
  CHECK(read(with(with(base, "dtype", "\"float32\""), "torch_dtype", "\"float32\"")).warnings.empty());
  CHECK(read(with(with(base, "dtype", "null"), "torch_dtype", "\"float16\"")).dtype == Dtype::f16);
  CHECK_THAT(refusal(with(with(base, "dtype", "\"float32\""), "torch_dtype", "\"int8\"")),
             Contains("\"torch_dtype\" must be"));
}

TEST_CASE("The midus section") {
  const LlamaConfig a = read(memory(hml));
  CHECK(a.memory == MemoryConfig{MemoryConfig::Kind::hml, {1, 3}, 8, 2, "factorized", 4, 0, 0});
  const LlamaConfig b = read(memory(pkm));
  CHECK(b.memory == MemoryConfig{MemoryConfig::Kind::pkm, {0}, 8, 8, "", 0, 3, 10});

  const auto hml_with = [](const char* key, const char* value) {
    return memory(with(parse_json(hml, "the test"), key, value).dump());
  };
  const std::tuple<const char*, const char*, const char*> refused[] = {
      {"positions", "[3, 1]", "ascending and distinct"},
      {"positions", "[1, 1]", "ascending and distinct"},
      {"positions", "[99]", "from 0 to 3, found [99]"},
      {"positions", "[4]", "from 0 to 3"},
      {"positions", "[-1]", "from 0 to 3"},
      {"positions", "[]", "at least one"},
      {"positions", "1", "a list of integers"},
      {"positions", "", "missing"},
      {"num_keys", "0", "from 1"},
      {"num_keys", "", "missing"},
      {"num_keys", "65536", "to 32768"},
      {"top_k", "9", "an integer from 1 to 8, found 9"},
      {"top_k", "0", "from 1 to 8"},
      {"value_rank", "-1", "from 0"},
      {"value_rank", "", "missing"},
      {"memory", "\"lstm\"", "\"hml\" or \"pkm\""},
      {"colour", "1", "is not known; known are memory, positions, num_keys, top_k, values, value_rank"},
      {"query_dim", "8", "is not known"}};
  for (const auto& [key, value, rule] : refused) {
    INFO(key << " " << value);
    CHECK_THAT(refusal(hml_with(key, value)),
               Contains("config.json: \"midus." + std::string(key) + "\"") && Contains(rule));
  }
  CHECK(read(hml_with("value_rank", "0")).memory->value_rank == 0);
  // Without a name the values are one of the two that there were before names.
  CHECK(read(memory(hml)).memory->value_policy == "factorized");
  CHECK(read(hml_with("value_rank", "0")).memory->value_policy == "dense");
  CHECK(read(hml_with("values", "\"factorized\"")).memory == read(memory(hml)).memory);
  CHECK_THAT(refusal(hml_with("values", "\"gated\"")),
             Contains("config.json: \"midus.values\" must be one of the value policies that this program has "
                      "(dense, factorized)") &&
                 Contains("found \"gated\""));
  CHECK_THAT(refusal(hml_with("values", "\"dense\"")),
             Contains("\"midus.value_rank\" must be 0 for the values \"dense\", found 4"));
  CHECK_THAT(refusal(with(memory(hml), "head_dim", "20")), Contains("4 x 20 and 64"));
  CHECK(refusal(with(memory(pkm), "head_dim", "20")) == "nothing was thrown");
  const auto pkm_with = [](const char* key, const char* value) {
    return memory(with(parse_json(pkm, "the test"), key, value).dump());
  };
  CHECK_THAT(refusal(pkm_with("query_dim", "7")), Contains("\"midus.query_dim\" must be even"));
  CHECK_THAT(refusal(pkm_with("memory_heads", "0")), Contains("\"midus.memory_heads\""));
  CHECK_THAT(refusal(pkm_with("value_rank", "4")), Contains("\"midus.value_rank\" is not known"));
  CHECK_THAT(refusal(with(memory(hml), "model_type", "\"llama\"")),
             Contains("\"model_type\" must be \"midus\""));
}

TEST_CASE("The history of expansions") {
  const std::string entry =
      R"({"policy": "midus", "inserted": ["model.memory_blocks.0.", "model.memory_blocks.1."], "parent_layers": 4, )"
      R"("parent_positions": [1, 3], "seed": 18446744073709551615})";
  const auto history = [&](const std::string& section) {
    return with(memory(hml), "depth_upscaling", section);
  };
  const LlamaConfig config = read(history(R"({"version": 1, "history": [)" + entry + "]}"));
  CHECK(config.history ==
        std::vector<Expansion>{Expansion{Policy::midus,
                                         {"model.memory_blocks.0.", "model.memory_blocks.1."},
                                         4,
                                         {1, 3},
                                         ~std::uint64_t{0}}});
  CHECK(refusal(history(
            R"({"version": 1, "history": [{"policy": "solar", "inserted": [], "parent_layers": 3}]})")) ==
        "nothing was thrown");

  const auto says = [&](const std::string& section, const std::string& message) {
    CHECK_THAT(refusal(history(section)), Contains("config.json: \"depth_upscaling") && Contains(message));
  };
  says(R"({"version": 2, "history": []})",
       "depth_upscaling.version\" must be 1, the version that midus knows, found 2");
  says(R"({"history": []})", "depth_upscaling.version\" is missing");
  says(R"({"version": 1})", "depth_upscaling.history\" is missing");
  says(R"({"version": 1, "history": [], "x": 1})", "depth_upscaling.x\" is not known");
  says(R"({"version": 1, "history": [1]})", "depth_upscaling.history[0]\" must be an object");
  const auto entry_with = [&](const char* key, const char* value) {
    return R"({"version": 1, "history": [)" + with(parse_json(entry, "the test"), key, value).dump() + "]}";
  };
  says(entry_with("policy", "\"other\""), "history[0].policy\"");
  says(entry_with("inserted", R"(["model.memory_blocks.2."])"), "history[0].inserted\"");
  says(entry_with("inserted", R"(["model.layers.4."])"), "with I below 4");
  says(entry_with("inserted", R"(["model.layers.1"])"), "history[0].inserted\"");
  says(entry_with("inserted", R"(["lm_head."])"), "history[0].inserted\"");
  says(entry_with("parent_layers", "0"), "history[0].parent_layers\"");
  says(entry_with("parent_positions", "[4]"), "history[0].parent_positions\"");
  says(entry_with("seed", "-1"), "history[0].seed\"");
  says(entry_with("extra", "1"), "history[0].extra\" is not known");
}
