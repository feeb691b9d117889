// Runs the program `train_tokenizer` (examples/train_tokenizer.cpp) as a user does.
#include "examples/program.hpp"
#include "midus/io/json.hpp"
#include "midus/tokenizer.hpp"
#include "support/catch.hpp"

using namespace midus;
using namespace midus::test;

namespace {

ProgramResult train_tokenizer(const TemporaryDirectory& directory, const std::string& arguments) {
  return run_in(directory, MIDUS_TRAIN_TOKENIZER, arguments);
}

std::string repeated_text() {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "the whale and the sea, the sea and the sky\n";
  return text;
}

}  // namespace

TEST_CASE("train_tokenizer: a tokenizer of the text, and what Python has to know of it") {
  const TemporaryDirectory directory;
  put_file(directory / "text.txt", repeated_text());
  const ProgramResult result = train_tokenizer(directory, "text.txt --vocab-size 270 --out model");
  INFO(result.error);
  REQUIRE(result.status == 0);
  CHECK(result.out == "model/tokenizer.json: 270 tokens\n");
  const Tokenizer tokenizer = read_tokenizer(directory / "model");
  CHECK(tokenizer.vocab_size() == 270);
  CHECK(tokenizer.id_of("<|endoftext|>") == 0);
  const std::string text = "the sea\xF0\x9F\x90\x8B";
  const std::vector<std::int32_t> ids = TextEncoder(tokenizer)(text);
  CHECK(ids.size() < text.size());
  CHECK(tokenizer.decode(ids) == text);
  const Json settings = Json::parse(file_bytes(directory / "model/tokenizer_config.json"));
  CHECK(settings["tokenizer_class"] == "PreTrainedTokenizerFast");
  CHECK(settings["eos_token"] == "<|endoftext|>");
}

TEST_CASE("train_tokenizer: a text that is too short for the vocabulary, special tokens of one's own") {
  const TemporaryDirectory directory;
  put_file(directory / "text.txt", "ab ab ab");
  const ProgramResult result =
      train_tokenizer(directory, "text.txt --vocab-size 5000 --special-tokens '<s>,</s>' --out model");
  REQUIRE(result.status == 0);
  CHECK(contains(result.out, "fewer than 5000"));
  CHECK(read_tokenizer(directory / "model").id_of("</s>") == 1);
}

TEST_CASE("train_tokenizer: nothing that is there is replaced unasked") {
  const TemporaryDirectory directory;
  put_file(directory / "text.txt", repeated_text());
  std::filesystem::create_directory(directory / "model");
  for (const std::string name : {"tokenizer.json", "tokenizer_config.json"}) {
    put_file(directory / ("model/" + name), "mine");
    ProgramResult result = train_tokenizer(directory, "text.txt --vocab-size 260 --out model");
    CHECK(result.status == 1);
    CHECK(contains(result.error, name + " exists already; --force replaces it"));
    CHECK(file_bytes(directory / ("model/" + name)) == "mine");
    std::filesystem::remove(directory / ("model/" + name));
  }
  put_file(directory / "model/tokenizer.json", "mine");
  CHECK(train_tokenizer(directory, "text.txt --vocab-size 260 --out model --force").status == 0);
  CHECK(file_bytes(directory / "model/tokenizer.json") != "mine");
  CHECK(
      contains(train_tokenizer(directory, "model/tokenizer.json --vocab-size 300 --out model --force").error,
               "would replace what the program reads"));
  put_file(directory / "bad.txt", "good\nnot \xff \xfe\n" + repeated_text());
  CHECK(contains(train_tokenizer(directory, "bad.txt --vocab-size 300 --out bad").error,
                 "warning: bad.txt is no UTF-8 in 2 places, the first in line 2; they become U+FFFD\n"));
}

TEST_CASE("train_tokenizer: where memory is short, a sentence says so, or all goes well") {
  const TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i * 7919 % 100'000) + " ";
  put_file(directory / "text.txt", text);
  for (const int kilobytes : {20'000, 30'000, 50'000, 80'000, 120'000, 200'000}) {
    const ProgramResult result =
        run_in(directory, "sh",
               "-c 'ulimit -v " + std::to_string(kilobytes) + "; exec \"" + MIDUS_TRAIN_TOKENIZER +
                   "\" text.txt --vocab-size 1000 --out model --force'");
    INFO(kilobytes << ": " << result.error);
    CHECK_FALSE(contains(result.error, "std::"));
  }
}

TEST_CASE("train_tokenizer: what is wrong is said") {
  const TemporaryDirectory directory;
  put_file(directory / "text.txt", repeated_text());
  CHECK(contains(train_tokenizer(directory, "text.txt --vocab-size 200 --out model").error,
                 "a vocabulary must have from 257"));
  const auto error = [&](const std::string& arguments) {
    const ProgramResult result = train_tokenizer(directory, arguments + " --vocab-size 300");
    CHECK(result.status == 1);
    return result.error;
  };
  CHECK(contains(error("none.txt --out model"), "none.txt"));
  put_file(directory / "empty.txt", "");
  CHECK(contains(error("empty.txt --out model"), "there is no text in empty.txt"));
  CHECK(contains(error("text.txt --out model --special-tokens '<a>,<b>,<a>'"),
                 "the special token \"<a>\" is given twice"));
  for (const char* const empty : {"''", "'<a>,'", "'<a>,,<b>'"})
    CHECK(contains(error("text.txt --out model --special-tokens " + std::string(empty)),
                   "a special token is empty"));
  CHECK(contains(error("text.txt --out model --special-tokens A"), "is how a byte is spelled"));
  CHECK(contains(error("text.txt --out model --special-tokens"),
                 "--special-tokens: expected a value, found the option --vocab-size"));
  CHECK(contains(error("text.txt --out model --min-frequency -4"), "--min-frequency must be an integer"));
  CHECK(error("text.txt --out text.txt/model") ==
        "train_tokenizer: cannot create the directory text.txt/model: Not a directory\n");
  CHECK_FALSE(std::filesystem::exists(directory / "model"));
  CHECK_FALSE(std::filesystem::exists(directory / "model/tokenizer.json"));
}
