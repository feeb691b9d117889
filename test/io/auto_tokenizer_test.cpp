#include "midus/io/auto_tokenizer.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

const std::string digits_then_bytes =
    R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},)"
    R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]})";
const std::string bytes = R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true})";

struct Files {
  TemporaryDirectory directory;
  explicit Files(const std::string& config, const std::string& pre_tokenizer, const std::string& more = "") {
    put_file(directory / "tokenizer_config.json", config);
    put_file(directory / "tokenizer.json",
             R"({"model": {"type": "BPE", "vocab": {"<|endoftext|>": 0}, "merges": [])" + more +
                 R"(}, "pre_tokenizer": )" + pre_tokenizer + "}");
  }
  std::string config() const { return file_bytes(directory / "tokenizer_config.json"); }
};

}  // namespace

TEST_CASE("auto_tokenizer: a class that builds other steps than tokenizer.json has is named") {
  const auto reason = [](const std::string& config, const std::string& pre_tokenizer,
                         const std::string& more = "") {
    const Files files(config, pre_tokenizer, more);
    return why_python_differs(files.directory.path());
  };
  const std::string gpt2 = R"({"tokenizer_class": "GPT2Tokenizer"})";
  CHECK_THAT(reason(gpt2, digits_then_bytes), Contains("tokenizer_config.json") && Contains("GPT2Tokenizer"));
  CHECK(reason(gpt2, bytes).empty());
  CHECK_FALSE(reason(gpt2, bytes, R"(, "ignore_merges": true)").empty());
  CHECK_FALSE(reason(R"({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": true})", bytes).empty());
  CHECK_FALSE(reason(R"({"tokenizer_class": "GPT2TokenizerFast"})", digits_then_bytes).empty());
  CHECK_FALSE(reason(R"({"tokenizer_class": "Qwen2Tokenizer"})", bytes).empty());
  CHECK_FALSE(reason(R"({"tokenizer_class": "GPTNeoXTokenizer"})", bytes).empty());  // NFC
  CHECK(reason(R"({"tokenizer_class": "PreTrainedTokenizerFast"})", digits_then_bytes).empty());
  CHECK(reason(R"({"tokenizer_class": "LlamaTokenizer"})", digits_then_bytes)
            .empty());  // the file counts there
  CHECK_FALSE(reason(R"({"tokenizer_class": "LlamaTokenizer"})", "null").empty());
  CHECK(reason(R"({"tokenizer_class": "LlamaTokenizer"})",
               R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})")
            .empty());
  CHECK(reason(R"({"tokenizer_class": "GPT2Tokenizer", "auto_map": {}})", digits_then_bytes).empty());
  CHECK(reason("{", digits_then_bytes).empty());
  CHECK(reason(R"({"tokenizer_class": 7})", digits_then_bytes).empty());
  CHECK(why_python_differs(TemporaryDirectory().path()).empty());
}

TEST_CASE("auto_tokenizer: files of any form are read without an error of theirs") {
  const auto reason = [](const std::string& config, const std::string& pre_tokenizer) {
    const Files files(config, pre_tokenizer);
    let_python_keep_ids(files.directory.path());
    return why_python_differs(files.directory.path());
  };
  const std::string llama = R"({"tokenizer_class": "LlamaTokenizer"})";
  std::string deep;
  for (int depth = 0; depth < 60'000; ++depth) deep += R"({"type":"Sequence","pretokenizers":[)";
  for (int depth = 0; depth < 60'000; ++depth) deep += "]}";
  CHECK(reason(llama, deep).empty());
  for (const char* const value : {"null", "7", "[]", "{}", "true", R"("")"}) {
    INFO(value);
    for (const char* const key : {"type", "prepend_scheme", "add_prefix_space", "split", "pretokenizers",
                                  "individual_digits", "pattern", "behavior"})
      for (const char* const type : {"Metaspace", "Sequence", "Digits", "Split", "ByteLevel"}) {
        Json step{{"type", type}};
        step[key] = Json::parse(value);
        CHECK_NOTHROW(reason(llama, step.dump()));
      }
    for (const char* const key : {"tokenizer_class", "add_prefix_space", "legacy", "auto_map", "bos_token"})
      CHECK_NOTHROW(reason(std::string("{\"") + key + "\": " + value + "}", bytes));
    CHECK_NOTHROW(reason(llama, value));
  }
  CHECK(reason(R"({"tokenizer_class": )" + std::string(60'000, '[') + std::string(60'000, ']') + "}", bytes)
            .empty());
}

TEST_CASE("auto_tokenizer: what Python opens gets the file's ids, and the class can come back") {
  const std::string config =
      "{\n  \"bos_token\": \"<a>\",\n  \"tokenizer_class\" : \"GPT2Tokenizer\",\n  \"x\": 1\n}\n";
  const Files files(config, digits_then_bytes);
  let_python_keep_ids(files.directory.path());
  const Json changed = Json::parse(files.config());
  CHECK(changed["tokenizer_class"] == "PreTrainedTokenizerFast");
  CHECK(changed["bos_token"] == "<a>");
  CHECK(changed["eos_token"] == "<|endoftext|>");  // the class's own, which the file did not name
  CHECK_FALSE(changed.contains("pad_token"));
  CHECK(changed["x"] == 1);
  CHECK(why_python_differs(files.directory.path()).empty());
  let_python_keep_ids(files.directory.path());
  restore_tokenizer_config(files.directory.path());
  CHECK(files.config() == config);
  restore_tokenizer_config(files.directory.path());
  CHECK(files.config() == config);

  const Files same(R"({"tokenizer_class": "GPT2Tokenizer"})", bytes);
  let_python_keep_ids(same.directory.path());
  CHECK(same.config() == R"({"tokenizer_class": "GPT2Tokenizer"})");
}
