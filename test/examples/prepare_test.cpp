// Runs the program `prepare` (examples/prepare.cpp) as a user does.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "examples/program.hpp"
#include "midus/train/token_file.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;

namespace {

ProgramResult prepare(const TemporaryDirectory& directory, const std::string& arguments) {
  return run_in(directory, MIDUS_PREPARE, arguments);
}

/// The text in a token file of bytes.
std::string text_of(const std::filesystem::path& path) {
  const TokenFile file(path);
  file.expect(256);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(file.size()));
  file.read(0, ids);
  std::string text;
  for (const std::int32_t id : ids) text += static_cast<char>(id);
  return text;
}

std::vector<std::string> sorted_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

/// Names of the files that are not the test's own.
std::vector<std::string> files_in(const TemporaryDirectory& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
    if (entry.path().extension() != ".log" && entry.path().extension() != ".txt")
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("prepare: every byte becomes a token, as it is") {
  const TemporaryDirectory directory;
  std::string every("\r\n\0\xff no end", 11);
  for (int byte = 0; byte < 256; ++byte) every += static_cast<char>(byte);
  put_file(directory / "a.txt", every);
  put_file(directory / "b.txt", "second\n");
  const ProgramResult result = prepare(directory, "--bytes a.txt b.txt --out all.bin");
  CHECK(result.status == 0);
  CHECK(result.out == "all.bin: 274 tokens from 274 bytes\n");
  CHECK(result.error.empty());
  CHECK(text_of(directory / "all.bin") == every + "second\n");
  CHECK(prepare(directory, "--bytes a.txt b.txt --separator '|' --out sep.bin").status == 0);
  CHECK(text_of(directory / "sep.bin") == every + "|second\n");
  CHECK(prepare(directory, "--bytes a.txt b.txt --separator '\\n' --out escaped.bin").status == 0);
  CHECK(text_of(directory / "escaped.bin") == every + "\\nsecond\n");  // two characters: no escapes
  CHECK(files_in(directory) == Names{"all.bin", "escaped.bin", "sep.bin"});
}

TEST_CASE("prepare: parts are cut between lines") {
  const TemporaryDirectory directory;
  std::string text;
  for (std::size_t line = 0; line < 1000; ++line)
    text += "line " + std::to_string(line) + std::string(line % 7, '.') + "\n";
  put_file(directory / "a.txt", text);
  REQUIRE(prepare(directory, "--bytes a.txt --split 90,5,5 --out data.bin").status == 0);
  CHECK(files_in(directory) == Names{"data.test.bin", "data.train.bin", "data.validation.bin"});
  const std::string train = text_of(directory / "data.train.bin"),
                    validation = text_of(directory / "data.validation.bin"),
                    test = text_of(directory / "data.test.bin");
  CHECK(train + validation + test == text);
  for (const std::string& part : {train, validation, test}) CHECK(part.back() == '\n');
  CHECK(train.size() >= text.size() * 9 / 10);  // and less than a line more
  CHECK(train.size() < text.size() * 9 / 10 + 16);
  CHECK(prepare(directory, "--bytes a.txt --split 80,20 --out two.bin").status == 0);
  CHECK(text_of(directory / "two.train.bin") + text_of(directory / "two.validation.bin") == text);
  CHECK_FALSE(std::filesystem::exists(directory / "two.test.bin"));
}

TEST_CASE("prepare: lines are shuffled by a seed") {
  const TemporaryDirectory directory;
  std::string text;
  for (int line = 0; line < 500; ++line) text += "line " + std::to_string(line) + "\n";
  put_file(directory / "a.txt", text);
  put_file(directory / "b.txt", "no line feed behind this");
  REQUIRE(prepare(directory, "--bytes a.txt b.txt --shuffle-lines 1 --out one.bin").status == 0);
  REQUIRE(prepare(directory, "--bytes a.txt b.txt --shuffle-lines 1 --out again.bin").status == 0);
  REQUIRE(prepare(directory, "--bytes a.txt b.txt --shuffle-lines 2 --out other.bin").status == 0);
  const std::string one = text_of(directory / "one.bin");
  CHECK(one == text_of(directory / "again.bin"));
  CHECK(one != text_of(directory / "other.bin"));
  const std::string complete = text + "no line feed behind this\n";
  CHECK(one != complete);
  CHECK(sorted_lines(one) == sorted_lines(complete));
  CHECK(one.size() == complete.size());
  REQUIRE(prepare(directory, "--bytes a.txt b.txt --shuffle-lines 1 --split 70,30 --out parts.bin").status ==
          0);
  CHECK(text_of(directory / "parts.train.bin") + text_of(directory / "parts.validation.bin") == one);
}

TEST_CASE("prepare: nothing is replaced unasked") {
  const TemporaryDirectory directory;
  put_file(directory / "a.txt", "new text\n");
  put_file(directory / "data.bin", "old");
  const ProgramResult refused = prepare(directory, "--bytes a.txt --out data.bin");
  CHECK(refused.status == 1);
  CHECK(refused.error == "prepare: data.bin exists already; --force replaces it\n");
  CHECK(file_bytes(directory / "data.bin") == "old");
  CHECK(prepare(directory, "--bytes a.txt --out data.bin --force").status == 0);
  CHECK(text_of(directory / "data.bin") == "new text\n");
  // Not even with --force.
  CHECK_THAT(prepare(directory, "--bytes a.txt --out ./a.txt --force").error,
             Catch::Contains("--out ./a.txt would replace what the program reads"));
  CHECK(file_bytes(directory / "a.txt") == "new text\n");
  // One part in the way: none is written.
  put_file(directory / "p.validation.bin", "old");
  put_file(directory / "b.txt", "1\n2\n3\n4\n5\n6\n");
  CHECK(prepare(directory, "--bytes b.txt --split 50,25,25 --out p.bin").status == 1);
  CHECK(files_in(directory) == Names{"data.bin", "p.validation.bin"});
}

TEST_CASE("prepare: what cannot be done is said, and leaves no file", "[TR-06]") {
  const TemporaryDirectory directory;
  put_file(directory / "empty.txt", "");
  put_file(directory / "one.txt", "one line");
  const auto error = [&](const std::string& arguments) {
    const ProgramResult result = prepare(directory, arguments);
    CHECK(result.status != 0);
    return result.error;
  };
  CHECK_THAT(error("--bytes none.txt --out x.bin"), Catch::Contains("cannot open none.txt: No such file"));
  CHECK_THAT(error("--bytes . --out x.bin"), Catch::Contains("found a directory"));
  CHECK_THAT(error("--bytes empty.txt --out x.bin"), Catch::Contains("no text in empty.txt"));
  CHECK_THAT(error("--bytes empty.txt --separator x --out x.bin"), Catch::Contains("no text"));
  CHECK_THAT(error("--bytes one.txt --split 90,10 --out x.bin"),
             Catch::Contains("validation part") && Catch::Contains("would be empty"));
  CHECK_THAT(error("--bytes one.txt --split 90,5 --out x.bin"), Catch::Contains("add up to 100, found 95"));
  CHECK_THAT(error("--bytes one.txt --out none/x.bin"), Catch::Contains("there is no directory none"));
  CHECK_THAT(error("one.txt --out x.bin"), Catch::Contains("--bytes"));
  CHECK_THAT(error("--bytes one.txt"), Catch::Contains("--out"));
  CHECK_THAT(error("--bytes --out x.bin"), Catch::Contains("TEXT"));
  CHECK_THAT(error("--bytes one.txt --out x.bin --shuffle-lines x"), Catch::Contains("x"));
  CHECK_THAT(error("--bytes one.txt --out x.bin --shuffle-lines 1 --separator x"),
             Catch::Contains("excludes"));
  CHECK(files_in(directory).empty());
  CHECK_THAT(prepare(directory, "--help").out, Catch::Contains("no escapes"));
}

namespace {

/// A tokenizer that knows every byte, a few merges and two special tokens.
void put_tokenizer(const TemporaryDirectory& directory) {
  BpeTrainer trainer({.vocab_size = 300, .special_tokens = {"<end>", "<begin>"}});
  trainer.add("the cat and the hat and the bat that sat on the mat");
  Json json = trainer.train();
  json["post_processor"] = parse_json(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<begin>", "type_id": 0}},
          {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<begin>": {"ids": [1]}}})",
      "the test");
  put_file(directory / "tokenizer.json", dump_json(json));
}

struct TokensOf {
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> weights;
};
TokensOf tokens_of(const TemporaryDirectory& directory, const std::string& name) {
  const TokenFile file(directory / name);
  TokensOf tokens{std::vector<std::int32_t>(static_cast<std::size_t>(file.size())), {}};
  file.read(0, tokens.ids);
  for (Index i = 0; i < file.size(); ++i) tokens.weights.push_back(file.counts(i) ? 1 : 0);
  return tokens;
}

}  // namespace

TEST_CASE("prepare: a file is a document, in the tokens of a tokenizer") {
  const TemporaryDirectory directory;
  put_tokenizer(directory);
  put_file(directory / "one.txt", "the cat\n");
  put_file(directory / "two.txt", "a hat \xff");
  const Tokenizer tokenizer = read_tokenizer(directory / "tokenizer.json");
  const ProgramResult result =
      prepare(directory, "--tokenizer . one.txt two.txt --end-token '<end>' --out x.bin");
  CHECK(result.status == 0);
  CHECK(result.error ==
        "warning: two.txt is no UTF-8 in 1 places, the first in line 1; they become U+FFFD\n");
  std::vector<std::int32_t> expected = test::encode(tokenizer, "the cat\n");
  CHECK(expected[0] == 1);
  expected.push_back(0);
  for (const std::int32_t id : test::encode(tokenizer, "a hat \xef\xbf\xbd")) expected.push_back(id);
  expected.push_back(0);
  CHECK(tokens_of(directory, "x.bin").ids == expected);
  const TokenFile file(directory / "x.bin");
  CHECK(file.vocabulary() == tokenizer.vocab_size());
  file.expect(tokenizer.vocab_size(), sha256_file(directory / "tokenizer.json"));
}

TEST_CASE("prepare: a long text has the tokens that it has in one piece, for any number of threads") {
  const TemporaryDirectory directory;
  put_tokenizer(directory);
  std::string text;
  for (int i = 0; i < 40000; ++i)
    text += i % 7 == 0 ? "  the  \n\n" : i % 3 == 0 ? "bat's 1234\n" : "the cat and\tthe mat that sat\n";
  put_file(directory / "long.txt", text);
  const Tokenizer tokenizer = read_tokenizer(directory / "tokenizer.json");
  const std::vector<std::int32_t> expected = test::encode(tokenizer, text);
  for (const std::string threads : {"1", "3"}) {
    CHECK(prepare(directory, "--tokenizer . long.txt --force --out x.bin --threads " + threads).status == 0);
    CHECK((tokens_of(directory, "x.bin").ids == expected));
  }
}

TEST_CASE("prepare: lines of JSON, and the loss on responses alone") {
  const TemporaryDirectory directory;
  put_tokenizer(directory);
  const Tokenizer tokenizer = read_tokenizer(directory / "tokenizer.json");
  put_file(directory / "a.jsonl",
           "{\"text\": \"the cat\"}\n\n{\"text\": \"\"}\n{\"text\": \"a\\nhat\", \"id\": 7}");
  CHECK(prepare(directory, "--tokenizer . --jsonl a.jsonl --out a.bin").status == 0);
  std::vector<std::int32_t> expected;
  for (const std::string document : {"the cat", "", "a\nhat"})
    for (const std::int32_t id : test::encode(tokenizer, document)) expected.push_back(id);
  CHECK(tokens_of(directory, "a.bin").ids == expected);

  put_file(directory / "b.jsonl", "{\"q\": \"the bat\", \"a\": \" sat\"}\n");
  CHECK(
      prepare(
          directory,
          "--tokenizer . --jsonl --prompt-field q --response-field a --end-token '<end>' b.jsonl --out b.bin")
          .status == 0);
  const TokensOf both = tokens_of(directory, "b.bin");
  const std::size_t question = test::encode(tokenizer, "the bat").size();
  const std::vector<std::int32_t> answer = test::encode(tokenizer, " sat", false);
  REQUIRE(both.ids.size() == question + answer.size() + 1);
  for (std::size_t i = 0; i < both.ids.size(); ++i) CHECK(both.weights[i] == (i < question ? 0 : 1));
  CHECK(both.ids.back() == 0);
  CHECK(TokenFile(directory / "a.bin").text_bytes() == 7 + 5);
  CHECK(TokenFile(directory / "b.bin").text_bytes() == 4);  // of the response

  put_file(directory / "bad.jsonl", "{\"text\": \"x\"}\n{\"txt\": \"y\"}\n");
  const ProgramResult missing = prepare(directory, "--tokenizer . --jsonl bad.jsonl --out c.bin");
  CHECK(missing.status == 1);
  CHECK_THAT(missing.error, Catch::Contains("bad.jsonl, line 2: \"text\" is missing"));
  put_file(directory / "bad.jsonl", "{\"text\": \"x\"}\n{\"text\": \n");
  CHECK_THAT(prepare(directory, "--tokenizer . --jsonl bad.jsonl --out c.bin").error,
             Catch::Contains("bad.jsonl, line 2") && Catch::Contains("not JSON"));
  put_file(directory / "bad.jsonl", "{\"text\": \"x\"}\n{bad\n");
  CHECK_THAT(prepare(directory, "--tokenizer . --jsonl bad.jsonl --out c.bin").error,
             Catch::Contains("bad.jsonl, line 2, column 2: not JSON"));
  put_file(directory / "bad.jsonl", "{\"text\": \"x\"}\n[1]\n");
  CHECK_THAT(prepare(directory, "--tokenizer . --jsonl bad.jsonl --out c.bin").error,
             Catch::Contains("bad.jsonl, line 2: a line must be an object {...}, found [1]"));
  std::filesystem::copy(directory / "tokenizer.json", directory / "plain.json");
  Json json = read_json_file(directory / "plain.json");
  json["post_processor"] = nullptr;
  put_file(directory / "plain.json", dump_json(json));
  put_file(directory / "bad.jsonl", "{\"text\": \"\"}\n");
  CHECK_THAT(prepare(directory, "--tokenizer plain.json --jsonl bad.jsonl --out c.bin").error,
             Catch::Contains("c.bin would have no token"));
  CHECK_FALSE(std::filesystem::exists(directory / "c.bin"));
}

TEST_CASE("prepare: a byte without a token is named by file, line and offset, left out, or replaced") {
  const TemporaryDirectory directory;
  put_tokenizer(directory);
  Json json = read_json_file(directory / "tokenizer.json");
  Json vocab = Json::object();  // without the byte 0x14
  for (const auto& [token, id] : json["model"]["vocab"].items())
    if (token != to_byte_characters("\x14")) vocab[token] = id;
  json["model"]["vocab"] = vocab;
  put_file(directory / "tokenizer.json", dump_json(json));
  put_file(directory / "good.txt", "the cat\n");
  put_file(directory / "bad.txt",
           "one\ntwo a\x14"
           "b\n");
  put_file(directory / "bad.jsonl", "{\"text\": \"x\"}\n{\"text\": \"a\\u0014\"}\n");
  const ProgramResult refused = prepare(directory, "--tokenizer . good.txt bad.txt --out x.bin");
  CHECK(refused.status == 1);
  CHECK_THAT(refused.error,
             Catch::Contains("bad.txt: line 2, byte 9: the vocabulary has no token for the byte 0x14") &&
                 Catch::Contains("--unknown drop"));
  CHECK_THAT(prepare(directory, "--tokenizer . --jsonl bad.jsonl --out x.bin").error,
             Catch::Contains("bad.jsonl, line 2, \"text\": line 1, byte 1: "));
  const Tokenizer tokenizer = read_tokenizer(directory / "tokenizer.json");
  const ProgramResult dropped = prepare(directory, "--tokenizer . bad.txt --unknown drop --out drop.bin");
  CHECK(dropped.status == 0);
  CHECK_THAT(dropped.error,
             Catch::Contains("warning: 1 characters or bytes have no token and were left out"));
  CHECK(tokens_of(directory, "drop.bin").ids == test::encode(tokenizer, "one\ntwo ab\n"));
  CHECK(prepare(directory, "--tokenizer . bad.txt --unknown replace --out replaced.bin").status == 0);
  CHECK(tokens_of(directory, "replaced.bin").ids == test::encode(tokenizer,
                                                                 "one\ntwo a\xef\xbf\xbd"
                                                                 "b\n"));
  CHECK_THAT(prepare(directory, "--tokenizer . bad.txt --unknown pass --out x.bin").error,
             Catch::Contains("--unknown must be error, drop or replace, found \"pass\""));
  CHECK_FALSE(std::filesystem::exists(directory / "x.bin"));
}

TEST_CASE("prepare: options of tokenizers that cannot be") {
  const TemporaryDirectory directory;
  put_tokenizer(directory);
  put_file(directory / "one.txt", "x\n");
  const auto error = [&](const std::string& arguments) {
    const ProgramResult result = prepare(directory, arguments + " one.txt --out x.bin");
    CHECK(result.status == 1);
    return result.error;
  };
  CHECK_THAT(error(""), Catch::Contains("give one of --bytes and --tokenizer"));
  CHECK_THAT(error("--bytes --tokenizer ."), Catch::Contains("give one of"));
  CHECK_THAT(error("--bytes --jsonl"), Catch::Contains("need --tokenizer"));
  CHECK_THAT(error("--tokenizer . --separator x"), Catch::Contains("--end-token"));
  CHECK_THAT(error("--tokenizer . --end-token '<none>'"), Catch::Contains("has no token \"<none>\""));
  CHECK_THAT(error("--tokenizer . --jsonl --prompt-field q"), Catch::Contains("--response-field"));
  CHECK_THAT(error("--tokenizer none"), Catch::Contains("none"));
  CHECK_THAT(error("--tokenizer . --text-field x"), Catch::Contains("--text-field requires --jsonl"));
  CHECK_THAT(error("--tokenizer . --jsonl --text-field x --prompt-field q --response-field a"),
             Catch::Contains("--text-field excludes --prompt-field"));
  CHECK_THAT(error("--bytes --shuffle-lines -1"),
             Catch::Contains("--shuffle-lines must be an integer from 0"));
  CHECK_THAT(error("--bytes --threads -2"), Catch::Contains("--threads must be an integer from 0 to 512"));
  CHECK_FALSE(std::filesystem::exists(directory / "x.bin"));
}
