// What earlier versions wrote opens, gives the same numbers, and goes on (test/releases).
#include <sstream>

#include "examples/program.hpp"
#include "midus/io/json.hpp"
#include "midus/train/token_file.hpp"
#include "midus/upscale/expand_files.hpp"
#include "support/catch.hpp"

using namespace midus;
using namespace midus::test;

namespace {

/// A copy of what commit fc63bed wrote; see the README.md beside it.
struct Fixture {
  Fixture() {
    std::filesystem::copy(
        std::filesystem::path(MIDUS_SOURCE_DIR) / "test/releases/fc63bed", directory.path(),
        std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  }
  ProgramResult run(const std::string& program, const std::string& arguments) const {
    return run_in(directory, (std::filesystem::path(MIDUS_RELEASE).parent_path() / program).string(),
                  arguments);
  }
  double loss(const std::string& model) const {
    const ProgramResult result =
        run("evaluate", model + " --data pairs=pairs.bin --length 16 --json loss.json");
    INFO(result.error);
    REQUIRE(result.status == 0);
    const Json json = read_json_file(directory / "loss.json")["results"][0];
    CHECK(json.at("tokens") == 73);
    return json.at("loss").get<double>();
  }
  const TemporaryDirectory directory;
};

/// The lines of a JSONL file.
std::vector<Json> lines_of(const std::filesystem::path& path) {
  std::istringstream file(file_bytes(path));
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(parse_json(line, path.string()));
  return lines;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "release: an up-scaled model and a training checkpoint have the losses of then") {
  CHECK(loss("midus") == Approx(5.9996213651683235).epsilon(1e-5));
  CHECK(loss("run/step-00000002") == Approx(5.5740121586682045).epsilon(1e-5));
}

TEST_CASE_METHOD(Fixture, "release: a run goes on to the losses of then") {
  const std::vector<Json> before = lines_of(directory / "run/log.jsonl");
  REQUIRE(before.size() == 4);
  const ProgramResult result = run(
      "cpt",
      "midus --train inserted --data text.bin --data pairs.bin=2 --eval pairs=pairs.bin --batch 2 --length "
      "16 "
      "--accumulate 2 --learning-rate 1e-2 --rate-scale '*.memory.values=20' --warmup 1 --threads 2 "
      "--checkpoint-every 2 --keep-last 5 --evaluate-every 2 --steps 4 --out run --resume");
  INFO(result.error);
  REQUIRE(result.status == 0);
  const std::vector<Json> after = lines_of(directory / "run/log.jsonl");
  REQUIRE(after.size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    for (const char* const key : {"step", "loss", "learning_rate", "grad_norm", "tokens"}) {
      INFO(i << " " << key);
      CHECK(after[i].at(key).get<double>() == Approx(before[i].at(key).get<double>()).epsilon(1e-4));
    }
  const std::vector<Json> evaluations = lines_of(directory / "run/evaluations.jsonl");
  REQUIRE(evaluations.size() == 3);
  CHECK(evaluations[2].at("loss").get<double>() == Approx(5.424480255335977).epsilon(1e-5));
}

TEST_CASE_METHOD(Fixture, "release: memory comes off, and what is left is the base, byte for byte") {
  const ModelOnDisk deeper(directory / "midus");
  const std::filesystem::path base = directory / "base", detached = directory / "detached";
  std::filesystem::create_directory(detached);
  write_detached(deeper, detached);
  for (const auto& file : std::filesystem::directory_iterator(base)) {
    INFO(file.path());
    CHECK(file_bytes(detached / file.path().filename()) == file_bytes(file.path()));
  }
}

TEST_CASE_METHOD(Fixture, "release: token files hold the tokens of then") {
  const TokenFile text(directory / "text.bin"), bytes(directory / "bytes.bin"),
      pairs(directory / "pairs.bin");
  CHECK(text.size() == 1422);
  CHECK(bytes.size() == 1422);
  CHECK(pairs.size() == 226);
  CHECK(text.vocabulary() == 256);
  CHECK_FALSE(text.weighted());
  CHECK(pairs.weighted());
  std::vector<std::int32_t> ids(1422), same(1422);
  text.read(0, ids);
  bytes.read(0, same);
  CHECK(ids == same);  // its tokenizer's tokens are the bytes
  std::string read(ids.begin(), ids.begin() + 16);
  CHECK(read == file_bytes(directory / "text.txt").substr(0, 16));
  Index counted = 0;
  for (Index token = 0; token < pairs.size(); ++token) counted += pairs.counts(token) ? 1 : 0;
  CHECK(counted == 73);
}
