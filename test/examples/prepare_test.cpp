// Runs the program `prepare` (examples/prepare.cpp) as a user does.
#include <sys/wait.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "midus/train/token_file.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::file_bytes;
using midus::test::put_file;
using midus::test::TemporaryDirectory;

namespace {

struct Result {
  int status;
  std::string out, error;
};

/// Runs `prepare` in the directory.
Result prepare(const TemporaryDirectory& directory, const std::string& arguments) {
  const std::string command = "cd '" + directory.path().string() + "' && '" MIDUS_PREPARE "' " + arguments +
                              " > stdout.log 2> stderr.log";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, file_bytes(directory / "stdout.log"),
          file_bytes(directory / "stderr.log")};
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
  const Result result = prepare(directory, "--bytes a.txt b.txt --out all.bin");
  CHECK(result.status == 0);
  CHECK(result.out == "all.bin: 274 tokens\n");
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
  const Result refused = prepare(directory, "--bytes a.txt --out data.bin");
  CHECK(refused.status == 1);
  CHECK(refused.error == "prepare: data.bin exists already; --force replaces it\n");
  CHECK(file_bytes(directory / "data.bin") == "old");
  CHECK(prepare(directory, "--bytes a.txt --out data.bin --force").status == 0);
  CHECK(text_of(directory / "data.bin") == "new text\n");
  // Not even with --force.
  CHECK_THAT(prepare(directory, "--bytes a.txt --out ./a.txt --force").error,
             Catch::Contains("is one of the texts"));
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
    const Result result = prepare(directory, arguments);
    CHECK(result.status != 0);
    return result.error;
  };
  CHECK_THAT(error("--bytes none.txt --out x.bin"), Catch::Contains("cannot open none.txt: No such file"));
  CHECK_THAT(error("--bytes . --out x.bin"), Catch::Contains("found a directory"));
  CHECK_THAT(error("--bytes empty.txt --out x.bin"), Catch::Contains("no text"));
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
