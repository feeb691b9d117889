// Runs the program `inspect` (examples/inspect.cpp) as a user does.
#include <string>

#include "examples/program.hpp"
#include "midus/train/token_file.hpp"
#include "midus/upscale/plan_text.hpp"
#include "support/catch.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;

namespace {

struct Fixture {
  Fixture() {
    write_random_model(directory / "base", base, Dtype::bf16);
    std::filesystem::remove(directory / "base/tokenizer.json");
  }
  ProgramResult inspect(const std::string& arguments) const {
    return run_in(directory, MIDUS_INSPECT, arguments);
  }
  Json json(const std::string& path) const {
    const ProgramResult result = inspect(path + " --json report.json");
    INFO(result.error);
    REQUIRE(result.status == 0);
    return read_json_file(directory / "report.json");
  }
  std::string error(const std::string& path) const {
    const ProgramResult result = inspect(path);
    CHECK(result.status == 1);
    return result.error;
  }
  void expand(const std::string& from, const std::string& to, const UpscaleOptions& options) const {
    std::filesystem::create_directory(directory / to);
    const ModelOnDisk model(directory / from);
    write_expanded(model, make_plan(model, options), directory / to);
  }
  const TemporaryDirectory directory;
};

/// A byte-level tokenizer of 256 bytes and some merged tokens.
Json byte_level_tokenizer(int merged) {
  Json vocabulary = Json::object();
  const std::string bytes = "!\"#$%&'()*+,-./0123456789:;<=>?@ABC";
  int id = 0;
  for (const char c : bytes) vocabulary[std::string(1, c)] = id++;
  Json merges = Json::array();
  for (int i = 0; i < merged; ++i) {
    const std::string left = i == 0 ? "A" : std::string(static_cast<std::size_t>(i), 'A') + "A";
    vocabulary[left + "A"] = id++;
    merges.push_back(left + " A");
  }
  return {{"version", "1.0"},
          {"added_tokens", Json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}}};
}

}  // namespace

TEST_CASE_METHOD(Fixture, "inspect: a base model") {
  const Json report = json("base");
  CHECK(report["kind"] == "model");
  CHECK(report["model"] == "base");
  CHECK(report["shape"]["num_hidden_layers"] == 4);
  CHECK(report["shape"]["tie_word_embeddings"] == false);
  CHECK(report["shape"]["max_position_embeddings"] == 512);
  CHECK(report["shape"]["rope"] == Json({{"rope_type", "default"}, {"rope_theta", 500000.0}}));
  // d 64, 4 heads and 2 kv heads of 16, f 176, V 256, 4 layers, by hand.
  const Json& parts = report["parameters"];
  CHECK(parts["embedding"] == 256 * 64);
  CHECK(parts["head"] == 256 * 64);
  CHECK(parts["attention"] == 4 * (2 * 64 * 64 + 2 * 32 * 64));
  CHECK(parts["feed_forward"] == 4 * 3 * 176 * 64);
  CHECK(parts["norms"] == (4 * 2 + 1) * 64);
  CHECK(parts["inserted"] == 0);
  const Index all = 2 * 256 * 64 + 4 * (12288 + 3 * 176 * 64) + 9 * 64;
  CHECK(parts["all"] == all);
  CHECK(report["inserted_blocks"].empty());
  CHECK(report["train"]["everything"] == all);
  CHECK(contains(report["train"]["inserted"].get<std::string>(), "has not been expanded"));
  CHECK(report["dtypes"] == Json({{"BF16", 30}, {"F32", 9}}));
  CHECK(report["bytes"]["on_disk"] == std::filesystem::file_size(directory / "base/model.safetensors"));
  CHECK(report["bytes"]["float32"] == 4 * all);
  CHECK(report["bytes"]["bfloat16"] == 2 * all);
  CHECK(report["tokenizer"]["kind"] == "bytes");
  CHECK_FALSE(report.contains("training"));

  const ProgramResult shown = inspect("base");
  CHECK(shown.error.empty());
  CHECK(contains(shown.out, "4 layers, d 64, 4 heads and 2 kv heads of 16, f 176\n"));
  CHECK(contains(shown.out, "parameters      " + grouped(static_cast<std::uint64_t>(all)) + "\n"));
  CHECK(contains(shown.out, "cpt --train inserted refused: the model has not been expanded\n"));
  CHECK_FALSE(contains(shown.out, "inserted:all"));
  CHECK(contains(shown.out, "\nmax positions   512\n"));

  // A configuration alone, and one with Llama 3's rotary embedding.
  const Json llama = json("'" MIDUS_SOURCE_DIR "/examples/configs/llama-3.2-1b/config.json'");
  CHECK(llama["parameters"]["all"] == 1235814400);
  CHECK(llama["parameters"]["head"] == 0);
  CHECK(llama["shape"]["rope"]["factor"] == 32.0);
  CHECK(llama["files"].empty());
  CHECK(llama["bytes"]["on_disk"].is_null());
  CHECK(llama["tokenizer"]["kind"] == "none");
}

TEST_CASE_METHOD(Fixture, "inspect: what each policy inserted, and what would train") {
  expand("base", "hive", {.positions = {1, 3}, .num_keys = 8, .top_k = 2, .value_rank = 4, .seed = 42});
  const Json hive = json("hive");
  CHECK(hive["model"] == "MIDUS");
  CHECK(hive["parameters"]["inserted"] == 18560);
  CHECK(hive["train"]["inserted"] == 18560);
  CHECK(hive["shape"]["midus.positions"] == Json({1, 3}));
  CHECK(hive["inserted_blocks"] == Json({{{"block", "model.memory_blocks.0."},
                                          {"policy", "midus"},
                                          {"before_layer", 1},
                                          {"parameters", 9280}},
                                         {{"block", "model.memory_blocks.1."},
                                          {"policy", "midus"},
                                          {"before_layer", 3},
                                          {"parameters", 9280}}}));
  CHECK(hive["expansions"][0]["seed"] == 42);
  CHECK(contains(inspect("hive").out, "model.memory_blocks.1.* before layer 3, 9,280 parameters"));

  expand("hive", "both", {.policy = Policy::llama_pro, .positions = {2}});
  const Json both = json("both");
  CHECK(both["model"] == "MIDUS, then LLaMA-Pro");
  const Index layer = 12288 + 3 * 176 * 64 + 2 * 64;
  CHECK(both["train"]["inserted"] == layer);
  CHECK(both["train"]["inserted:all"] == layer + 18560);
  CHECK(both["inserted_blocks"][0] == Json({{"block", "model.layers.3."},
                                            {"policy", "llama_pro"},
                                            {"after_layer", 2},
                                            {"parameters", layer}}));

  expand("base", "pkm",
         {.policy = Policy::pkm, .count = 1, .num_keys = 8, .top_k = 2, .memory_heads = 3, .query_dim = 10});
  CHECK(json("pkm")["model"] == "PKM");
  CHECK(json("pkm")["shape"]["midus.memory_heads"] == 3);
  expand("base", "solar", {.policy = Policy::solar});
  CHECK(json("solar")["model"] == "SOLAR");
  CHECK(json("solar")["parameters"]["inserted"] == 0);
  CHECK(contains(json("solar")["train"]["inserted"].get<std::string>(), "solar inserts no block"));
}

TEST_CASE_METHOD(Fixture, "inspect: a tokenizer that fits, one that does not, and one that cannot be read") {
  const auto put = [&](const Json& tokenizer) {
    put_file(directory / "base/tokenizer.json", tokenizer.dump());
  };
  put(byte_level_tokenizer(3));
  const Json report = json("base");
  CHECK(report["tokenizer"]["kind"] == "byte-level BPE");
  CHECK(report["tokenizer"]["tokens"] == 38);
  CHECK(report["tokenizer"]["fits"] == true);
  CHECK(report["tokenizer"]["sha256"] == to_hex(sha256_file(directory / "base/tokenizer.json")));
  put_file(directory / "base/tokenizer_config.json", R"({"tokenizer_class": "GPTNeoXTokenizer"})");
  CHECK(contains(inspect("base").error,
                 "the class GPTNeoXTokenizer builds other steps than tokenizer.json has"));
  std::filesystem::remove(directory / "base/tokenizer_config.json");
  put(byte_level_tokenizer(230));
  const ProgramResult large = inspect("base");
  CHECK(large.status == 1);
  CHECK(contains(large.out, "byte-level BPE, 265 tokens, more than the model's 256"));
  put({{"model", {{"type", "Unigram"}}}});
  const ProgramResult unigram = inspect("base --json report.json");
  CHECK(unigram.status == 1);
  CHECK(contains(unigram.out, "Unigram"));
  CHECK(contains(unigram.out, "parameters"));
  CHECK(contains(read_json_file(directory / "report.json")["tokenizer"]["error"].get<std::string>(),
                 "Unigram"));
}

TEST_CASE_METHOD(Fixture, "inspect: a training checkpoint, and the run around it") {
  expand("base", "run", {.num_keys = 8, .top_k = 2, .value_rank = 4});
  std::filesystem::create_directories(directory / "job");
  std::filesystem::rename(directory / "run", directory / "job/step-00000100");
  put_file(directory / "job/step-00000100/trainer.json",
           R"({"version": 1, "step": 100, "tokens": 204800, "trained": ["a", "b"],
               "options": {"steps": 1000, "seed": 18446744073709551615}, "best": {"step": 50, "loss": 2.5}})");
  write_checkpoint_file(directory / "job/step-00000100/optimizer.safetensors",
                        {{"exp_avg.a", Dtype::f32, {2}, std::string(8, '\0')}});
  const Json training = json("job/step-00000100")["training"];
  CHECK(training["step"] == 100);
  CHECK(training["steps"] == 1000);
  CHECK(training["tokens"] == 204800);
  CHECK(training["seed"] == 18446744073709551615u);
  CHECK(training["trained_tensors"] == 2);
  CHECK(contains(inspect("job/step-00000100").out,
                 "step 100 of 1000, 204,800 tokens, seed 18446744073709551615"));
  CHECK(contains(error("job"), "job holds a training run; name a model in it: job/step-00000100\n"));
  std::filesystem::create_directory(directory / "job/final");
  std::filesystem::copy(directory / "base/config.json", directory / "job/final/config.json");
  CHECK(contains(error("job"), "name a model in it: job/final, or a checkpoint such as job/step-00000100\n"));
  put_file(directory / "job/step-00000100/trainer.json", R"({"version": 2})");
  CHECK(contains(error("job/step-00000100"), "\"version\" must be an integer from 1 to 1, found 2"));
}

TEST_CASE_METHOD(Fixture, "inspect: token files") {
  {
    TokenWriter writer(directory / "bytes.bin");
    writer.append_bytes("seven b");
    writer.commit();
    Sha256Digest digest{};
    digest[0] = 0xab;
    TokenWriter weighted(directory / "weighted.bin",
                         {.vocabulary = 70000, .tokenizer = digest, .weighted = true});
    const std::int32_t ids[] = {1, 69999, 3, 4};
    const std::uint8_t weights[] = {0, 1, 0, 0};
    weighted.append(ids, weights);
    weighted.commit();
  }
  CHECK(json("bytes.bin") == Json({{"path", "bytes.bin"},
                                   {"kind", "token file"},
                                   {"tokens", 7},
                                   {"vocabulary", 256},
                                   {"bytes_per_token", 2},
                                   {"tokenizer_sha256", nullptr},
                                   {"weighted", false},
                                   {"masked", 0},
                                   {"text_bytes", 7},
                                   {"first_text", "seven b"}}));
  CHECK(contains(inspect("bytes.bin").out, "begins with     \"seven b\""));
  const Json weighted = json("weighted.bin");
  CHECK(weighted["bytes_per_token"] == 4);
  CHECK(weighted["tokenizer_sha256"] == "ab" + std::string(62, '0'));
  CHECK(weighted["masked"] == 3);
  CHECK(contains(inspect("weighted.bin").out, "3 tokens, 75 %, are read and not learned"));
  CHECK(contains(inspect("bytes.bin").out, "none: the tokens are bytes"));
  TokenWriter unnamed(directory / "unnamed.bin", {.vocabulary = 300});
  unnamed.append(std::vector<std::int32_t>{299});
  unnamed.commit();
  CHECK(contains(inspect("unnamed.bin").out, "tokenizer       not named by the file"));
  CHECK(contains(inspect("unnamed.bin").out, "begins with     tokens of an unknown tokenizer"));
  put_file(directory / "cut.bin", file_bytes(directory / "bytes.bin").substr(0, 140));
  CHECK(
      error("cut.bin") ==
      "inspect: token file cut.bin: expected 142 bytes (128 of header and 7 tokens of 2 bytes), found 140\n");
}

TEST_CASE_METHOD(Fixture, "inspect: the first tokens of a token file as text, by its own tokenizer alone") {
  put_file(directory / "tokenizer.json",
           R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}})");
  put_file(directory / "other.json",
           R"({"model": {"type": "BPE", "vocab": {"b": 0, "a": 1}, "merges": []}})");
  TokenWriter writer(directory / "t.bin",
                     {.vocabulary = 2, .tokenizer = sha256_file(directory / "tokenizer.json")});
  writer.append(std::vector<std::int32_t>{0, 1, 1});
  writer.set_text_bytes(5);
  writer.commit();
  CHECK(json("t.bin")["first_text"].is_null());
  CHECK(json("t.bin")["text_bytes"] == 5);
  CHECK(contains(inspect("t.bin --tokenizer .").out, "begins with     \"a b b\""));
  CHECK(contains(error("t.bin --tokenizer other.json"), "it was made with the tokenizer with SHA-256"));
}

TEST_CASE_METHOD(Fixture, "inspect: a hub's name and a GGUF file are met with what midus takes") {
  const std::string hub = error("HuggingFaceTB/SmolLM2-135M");
  CHECK(contains(hub, "there is no directory HuggingFaceTB/SmolLM2-135M"));
  CHECK(contains(hub, "`hf download HuggingFaceTB/SmolLM2-135M --local-dir SmolLM2-135M`"));
  CHECK(contains(error("meta-llama/Llama-3.2-1B"),
                 "`hf download meta-llama/Llama-3.2-1B --local-dir Llama-3.2-1B`"));
  CHECK(contains(error("texts/bible.bin"), "cannot open texts/bible.bin"));
  put_file(directory / "model.gguf", "GGUF" + std::string(200, '\3'));
  CHECK(contains(error("model.gguf"), "model.gguf is a GGUF file"));
  std::filesystem::create_directory(directory / "quantised");
  put_file(directory / "quantised/q4.gguf", "GGUF");
  CHECK(contains(error("quantised"), "quantised/q4.gguf is a GGUF file"));
  CHECK(contains(error("base/nothing"), "cannot open base/nothing"));
}

TEST_CASE_METHOD(Fixture, "inspect: what is cut, wrong or missing gets the reader's errors") {
  const std::string bytes = file_bytes(directory / "base/model.safetensors");
  put_file(directory / "base/model.safetensors", bytes.substr(0, bytes.size() - 1));
  CHECK(contains(error("base"), "base/model.safetensors: expected "));
  put_file(directory / "base/model.safetensors", bytes);
  put_file(directory / "base/config.json", with(base, "num_hidden_layers", "5").dump());
  CHECK(contains(error("base"), "missing: \"model.layers.4.input_layernorm.weight\""));
  put_file(directory / "base/config.json", with(base, "num_hidden_layers", "0").dump());
  CHECK(contains(error("base"), "\"num_hidden_layers\" must be an integer from 1"));
  std::filesystem::remove(directory / "base/config.json");
  CHECK(contains(error("base"), "cannot open base/config.json"));
  CHECK(contains(error("nothing"), "cannot open nothing"));
  put_file(directory / "text.txt", std::string(200, 'x'));
  CHECK(contains(error("text.txt"), "expected it to begin with MIDUSTOK"));
  CHECK(contains(error("text.txt --json text.txt"), "expected it to begin with MIDUSTOK"));
  CHECK(inspect("--help").status == 0);
}
