// Runs the program `sample` (examples/sample.cpp) as a user does.
#include <cmath>
#include <set>

#include "examples/model_files.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;

namespace {

struct Fixture {
  Fixture() { write_odd_model(directory / "model"); }
  ProgramResult run(const std::string& arguments) const {
    return run_in(directory, MIDUS_SAMPLE, "model " + arguments);
  }
  std::string sample(const std::string& arguments) const {
    const ProgramResult result = run(arguments);
    CHECK(result.error.starts_with("prompt "));  // the speed, and no warning
    CHECK(contains(result.error, " tokens/s\n"));
    CHECK(result.status == 0);
    REQUIRE(result.out.ends_with('\n'));
    return result.out.substr(0, result.out.size() - 1);
  }
  std::string error(const std::string& arguments) const {
    const ProgramResult result = run(arguments);
    CHECK(result.status == 1);
    return result.error;
  }
  const TemporaryDirectory directory;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "sample: greedy is the same text for every seed", "[GN-05]") {
  const std::string greedy = sample("--prompt Hello --max-tokens 20 --temperature 0");
  CHECK(greedy.size() == 25);
  CHECK(greedy.substr(0, 5) == "Hello");
  for (const char* const more : {"--temperature 0 --seed 1", "--temperature 0 --seed 2 --top-k 50",
                                 "--temperature -0.0", "--top-k 1 --seed 3", "--temperature 1e-6 --seed 4",
                                 "--temperature 1e-45", "--top-p 0", "--temperature 0 --threads 3"})
    CHECK(sample(std::string("--prompt Hello --max-tokens 20 ") + more) == greedy);
  // Token by token, each with its whole past read anew: the cache is not in the text.
  std::string again = "Hello";
  for (int i = 0; i < 6; ++i) {
    put_file(directory / "so far", again);
    again = sample("--prompt-file 'so far' --max-tokens 1 --temperature 0");
  }
  CHECK(again == greedy.substr(0, 11));
}

TEST_CASE_METHOD(Fixture, "sample: a seed is a text") {
  const std::string what = "--prompt Hello --max-tokens 20 --seed ";
  CHECK(sample(what + "5") == sample(what + "5"));
  std::set<std::string> texts;
  for (const char* const seed : {"0", "1", "2", "18446744073709551615"}) texts.insert(sample(what + seed));
  CHECK(texts.size() == 4);
}

TEST_CASE_METHOD(Fixture, "sample: several prompts, each with the text that it has alone", "[GN-07]") {
  const std::string how = "--max-tokens 20 --seed 2 --prompt ";
  const std::string a = sample(how + "Hello"), b = sample(how + "x"), c = sample(how + "'so far '");
  CHECK(sample(how + "Hello --prompt x --prompt 'so far '") == a + "\n---\n" + b + "\n---\n" + c);
  CHECK(sample("--max-tokens 0 --prompt a --prompt b") == "a\n---\nb");
  CHECK(sample("--prompt x --prompt " + std::string(60, 'y')).size() == 64 + 5 + 64);
  CHECK(contains(error("--prompt x --prompt ''"), "prompt 2 is empty"));
  CHECK(contains(error("--prompt x --prompt " + std::string(65, 'y')), "prompt 2 has 65 tokens"));
  CHECK(contains(error(how + "x --prompt " + std::string(50, 'y')), "there is room for 14"));
}

TEST_CASE_METHOD(Fixture, "sample: the prompt comes out as it is, all bytes included") {
  const std::string bytes("\0\xff\r\n\xe2\x82", 6);
  put_file(directory / "prompt", bytes);
  CHECK(sample("--prompt-file prompt --max-tokens 0") == bytes);
  CHECK(sample("--prompt-file prompt --max-tokens 3").size() == 9);
  CHECK(sample("--prompt x").size() == 64);  // what max_position_embeddings leaves room for
}

TEST_CASE_METHOD(Fixture, "sample: there are no escapes, and nothing is made of white space", "[TK-12]") {
  const auto from_file = [&](const std::string& prompt) {
    put_file(directory / "prompt", prompt);
    return sample("--prompt-file prompt --max-tokens 20 --temperature 0");
  };
  const auto from_argument = [&](const std::string& prompt) {
    return sample("--prompt '" + prompt + "' --max-tokens 20 --temperature 0");
  };
  std::set<std::string> continuations;
  for (const std::string prompt : {"a\\nb", "a\nb", "a\r\nb", "   ", "a\\r\\nb", "\n"}) {
    INFO(prompt);
    const std::string text = from_argument(prompt);
    CHECK(text.size() == prompt.size() + 20);
    CHECK(text.substr(0, prompt.size()) == prompt);
    CHECK(from_file(prompt) == text);
    continuations.insert(text.substr(prompt.size()));
  }
  CHECK(continuations.size() == 6);  // so the model read different tokens
  const std::string nul("a\0b", 3);
  CHECK(from_file(nul).substr(0, 3) == nul);
  CHECK(from_file(nul).substr(3) != from_file("a").substr(1));
  const ProgramResult help = run_in(directory, MIDUS_SAMPLE, "--help");
  CHECK(contains(help.out, "there are no escapes"));
  CHECK(contains(help.out, "--prompt TEXT Excludes"));  // not "TEXT ...": one word each time
  CHECK(contains(help.out, "All words up to the next option or -- belong to --stop"));

  // A tokenizer that puts a token at the beginning makes the empty prompt that token alone.
  put_file(
      directory / "model/tokenizer.json",
      R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
               "post_processor": {"type": "TemplateProcessing", "pair": [],
                 "single": [{"SpecialToken": {"id": "A"}}, {"Sequence": {"id": "A"}}],
                 "special_tokens": {"A": {"ids": [65]}}}, "model": {"vocab": )" +
          byte_vocabulary() + R"(, "merges": []}})");
  const std::string begun = from_argument("");
  std::filesystem::remove(directory / "model/tokenizer.json");
  CHECK(begun == replace_invalid_utf8(from_argument("A").substr(1)));
}

TEST_CASE_METHOD(Fixture, "sample: an end-of-text token of config.json ends the text and is not shown") {
  const std::string greedy = sample("--prompt Hello --max-tokens 20 --temperature 0");
  const auto end = static_cast<unsigned char>(greedy[9]);
  Json json = read_json_file(directory / "model/config.json");
  json["eos_token_id"] = {7, static_cast<int>(end)};
  put_file(directory / "model/config.json", dump_json(json));
  const std::size_t first = greedy.find(static_cast<char>(end), 5);
  CHECK(sample("--prompt Hello --max-tokens 20 --temperature 0") == greedy.substr(0, first));
}

TEST_CASE_METHOD(Fixture, "sample: options without a meaning are refused by name", "[GN-03]") {
  for (const char* const bad : {"nan", "inf", "-1", "-inf", "1e999"}) {
    INFO(bad);
    CHECK(contains(error(std::string("--prompt x --temperature=") + bad), "temperature"));
    CHECK(contains(error(std::string("--prompt x --top-p=") + bad), "top-p"));
  }
  CHECK(contains(error("--prompt x --top-p 1.5"), "--top-p must be a number from 0 to 1, found \"1.5\""));
  CHECK(contains(error("--prompt x --top-k -1"), "--top-k must be an integer of at least 0"));
  CHECK(contains(error("--prompt x --top-k 1.5"), "top-k"));
  CHECK(contains(error("--prompt x --max-tokens -1"),
                 "--max-tokens must be an integer of at least 0, found \"-1\""));
  CHECK(contains(error("--prompt x --max-tokens 64"), "there is room for 63"));
  for (const char* const bad : {"-1", "1.5", "18446744073709551616", "x"})
    CHECK(
        contains(error(std::string("--prompt x --seed=") + bad), "--seed must be an integer from 0 to 2^64"));
  CHECK(contains(error("--prompt x --temperature 0,5"), "--temperature"));
  const ProgramResult german =
      run_in(directory, "env", "LC_ALL=de_DE.UTF-8 '" MIDUS_SAMPLE "' model --prompt x --temperature 0,5");
  CHECK(german.status == 1);
  CHECK(contains(german.error, "--temperature"));

  CHECK(contains(error("--max-tokens 3"), "give --prompt or --prompt-file"));
  CHECK(contains(error("--prompt '' --max-tokens 3"), "the prompt is empty"));
  CHECK(contains(error("--prompt= --max-tokens 3"), "the prompt is empty"));
  CHECK(contains(error("--prompt --max-tokens 3"),
                 "--prompt: expected a value, found the option --max-tokens"));
  CHECK(sample("--prompt=--max-tokens --max-tokens 0") == "--max-tokens");
  CHECK(sample("--prompt --no-option --max-tokens 0") == "--no-option");
  CHECK(contains(error("--prompt x --prompt-file y"), "excludes"));
  CHECK(contains(error("--prompt-file none"), "none"));
  CHECK(contains(error("--prompt " + std::string(65, 'x')), "the prompt has 65 tokens; the model knows 64"));
}

TEST_CASE_METHOD(Fixture, "sample: a tokenizer whose tokens are the bytes gives the text of a byte model") {
  const std::string what = "--prompt 'Hällo ' --max-tokens 20 --seed 3";
  const std::string bytes = sample(what);
  const std::size_t letter = bytes.find_first_of("abcdefghijklmnopqrstuvwxyz", std::string("Hällo ").size());
  REQUIRE(letter != bytes.npos);
  CHECK(sample(what + " --stop " + bytes[letter]) == bytes.substr(0, letter));
  put_file(
      directory / "model/tokenizer.json",
      R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
               "model": {"vocab": )" +
          byte_vocabulary() + R"(, "merges": []}})");
  CHECK(sample(what) == replace_invalid_utf8(bytes));
  const std::string prompt = "Hällo ", next = bytes.substr(prompt.size(), 1);
  CHECK(sample(what + " --stop '" + to_byte_characters(next) + "'") == prompt);
  CHECK(sample(what + " --stop ' '") == sample(what + " --stop 'Ġ'"));  // as a text, too
  CHECK(contains(error(what + " --stop '<|none|>'"),
                 "there is no token \"<|none|>\"; as a text it is 8 tokens"));
  CHECK(sample(what + " --repetition-penalty 1000 --temperature 0") != sample(what + " --temperature 0"));
  CHECK(sample(what + " --min-p 1") == sample(what + " --temperature 0"));
}

TEST_CASE_METHOD(Fixture, "sample: what of a tokenizer.json is passed over is said") {
  put_file(directory / "model/tokenizer.json",
           R"({"truncation": {"max_length": 1}, "model": {"vocab": {"a": 0}, "merges": []}})");
  CHECK_THAT(run("--prompt aa --max-tokens 1").error,
             Catch::StartsWith("warning: model/tokenizer.json: \"truncation\" is not applied"));
}

TEST_CASE_METHOD(Fixture, "sample: models that it cannot continue") {
  put_weight(directory / "model", "model.norm.weight", 0, std::nanf(""));
  const ProgramResult poisoned = run("--prompt x --temperature 0");
  CHECK(poisoned.status == 1);
  CHECK(poisoned.out.empty());  // never text as if nothing were wrong
  CHECK(contains(poisoned.error, "model.norm.weight holds nan"));
  put_file(directory / "model/tokenizer.json", "{}");
  CHECK(contains(error("--prompt x"), "tokenizer.json: \"model\" is missing"));
  put_file(directory / "model/tokenizer.json", R"({"model": {"vocab": {"a": 256}, "merges": []}})");
  CHECK(contains(error("--prompt a"), "has ids up to 256, the model a vocabulary of 256"));
  std::filesystem::remove(directory / "model/tokenizer.json");
  Json json = read_json_file(odd_config / "config.json");
  json["hidden_size"] = 48;
  json["head_dim"] = 8;
  write_random_model(directory / "model", json);
  std::filesystem::remove(directory / "model/tokenizer.json");
  CHECK(contains(error("--prompt x"), "hidden_size is 48, the program's is 36"));
}

TEST_CASE_METHOD(Fixture, "sample: weights kept as bfloat16 give what a bfloat16 checkpoint gives") {
  const std::string what = "--prompt Hello --max-tokens 20 --temperature 0";
  write_odd_model(directory / "model", Dtype::bf16);
  const std::string exact = sample(what);
  CHECK(sample(what + " --store bf16") == exact);
  CHECK(contains(error(what + " --store f16"), "--store"));
}

TEST_CASE_METHOD(Fixture, "sample: ends from generation_config.json, and text without the prompt") {
  const std::string what = "--prompt Hello --max-tokens 20 --temperature 0";
  const std::string text = sample(what).substr(5);
  CHECK(sample(what + " --no-prompt") == text);
  std::size_t at = 1;  // a byte that comes there for the first time
  while (text.find(text[at]) != at) ++at;
  const int end = static_cast<unsigned char>(text[at]);
  put_file(directory / "model/generation_config.json", R"({"eos_token_id": [)" + std::to_string(end) + "]}");
  CHECK(sample(what + " --no-prompt") == text.substr(0, at));
  put_file(directory / "model/generation_config.json", R"({"eos_token_id": 100000})");
  CHECK_THAT(error(what), Catch::Contains("generation_config.json") && Catch::Contains("100000"));
}

TEST_CASE_METHOD(Fixture, "sample: a begin token that the prompt spells itself is not doubled", "[EV-05]") {
  put_file(
      directory / "model/tokenizer.json",
      R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
               "added_tokens": [{"id": 65, "content": "A", "special": true}],
               "post_processor": {"type": "TemplateProcessing", "pair": [],
                 "single": [{"SpecialToken": {"id": "A"}}, {"Sequence": {"id": "A"}}],
                 "special_tokens": {"A": {"ids": [65]}}}, "model": {"vocab": )" +
          byte_vocabulary() + R"(, "merges": []}})");
  const std::string as_many(63, 'x');  // as the model knows positions, with the begin token
  for (const std::string& prompt : {as_many, "A" + as_many})
    CHECK(sample("--max-tokens 0 --prompt " + prompt) == prompt);
  CHECK(contains(error("--max-tokens 0 --prompt AA" + as_many), "the prompt has 65 tokens"));
}

TEST_CASE_METHOD(Fixture, "sample: a user's message by the chat template, and the answer alone") {
  const std::string how = " --max-tokens 20 --temperature 0";
  CHECK_THAT(error("--chat --prompt Hi" + how), Catch::Contains("has no chat template"));
  put_file(directory / "model/chat_template.jinja",
           "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>");
  const std::string rendered = "'<system>Be brief<user>Hi<assistant>'";
  CHECK(sample("--chat --system 'Be brief' --prompt Hi" + how) ==
        sample("--no-prompt --prompt " + rendered + how));
  CHECK_THAT(error("--system x --prompt Hi"), Catch::Contains("--system requires --chat"));
}
