// Runs the program `upscale` (examples/upscale.cpp) as a user does. The programs `logits` that its check runs
// are stood in for by a script; examples/quickstart.sh runs the real ones.
#include <filesystem>
#include <string>

#include "examples/program.hpp"
#include "support/catch.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;

namespace {

ProgramResult upscale(const TemporaryDirectory& directory, const std::string& arguments) {
  return run_in(directory, MIDUS_UPSCALE, arguments);
}

const std::string memory_options = " --positions 1,3 --num-keys 8 --top-k 2 --value-rank 4";

/// A `build_for.sh` whose `logits` writes `base.logits` for the model "base" and `deeper.logits` for others.
void put_fake_build(const TemporaryDirectory& directory, const std::vector<float>& base_logits,
                    const std::vector<float>& deeper_logits) {
  const auto put_logits = [&](const std::string& name, const std::vector<float>& values) {
    const std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    write_checkpoint_file(directory / name,
                          {{"logits", Dtype::f32, {static_cast<Index>(values.size())}, bytes}});
  };
  put_logits("base.logits", base_logits);
  put_logits("deeper.logits", deeper_logits);
  const std::string here = directory.path().string();
  put_file(directory / "build_for.sh",
           "[ $# = 1 ] && [ -f \"$1/config.json\" ] || exit 3\necho building\necho '" + here + "'\n");
  put_file(
      directory / "logits",
      "#!/bin/sh\n# DIRECTORY --ids FILE --out FILE\n[ -f \"$1/model.safetensors\" ] && [ -f \"$3\" ] || "
      "exit 4\ncp \"$3\" '" +
          here + "/ids.json'\n[ \"$1\" = base ] && from=base || from=deeper\ncp '" + here +
          "/'$from.logits \"$5\"\n");
  std::filesystem::permissions(directory / "logits", std::filesystem::perms::owner_all);
}

}  // namespace

TEST_CASE("upscale: the plan, the model, and what was not checked") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base);
  const ProgramResult dry = upscale(directory, "base out --dry-run" + memory_options);
  CHECK(dry.status == 0);
  CHECK(contains(dry.out, "18,560 added"));
  CHECK(contains(dry.out, "nothing was written"));
  CHECK_FALSE(std::filesystem::exists(directory / "out"));

  const ProgramResult result = upscale(directory, "base out --no-check" + memory_options);
  CHECK(result.status == 0);
  CHECK(result.error.empty());
  CHECK(contains(result.out, "not checked (--no-check)"));
  CHECK(contains(result.out,
                 "build_for.sh out | tail -n 1)\n  \"$programs/cpt\" out --train inserted --rate-scale"));
  CHECK(contains(result.out, " --learning-rate 3e-3 --warmup 50 --data"));
  CHECK(read_llama_config(directory / "out").memory->positions == std::vector<Index>{1, 3});
  CHECK_FALSE(left_over(directory.path()));

  const auto before = all_files(directory / "out");
  const ProgramResult again = upscale(directory, "base out --no-check" + memory_options);
  CHECK(again.status == 1);
  CHECK(again.error == "upscale: out exists already; choose another name, or replace it with --force\n");
  const ProgramResult dry_again = upscale(directory, "base out --dry-run" + memory_options);
  CHECK(dry_again.status == 0);
  CHECK(contains(dry_again.out, "18,560 added"));
  CHECK(contains(dry_again.out, "(--dry-run), nor could it be: out exists already; choose another name"));
  CHECK(upscale(directory, "base out --no-check --force" + memory_options).status == 0);
  CHECK(all_files(directory / "out") == before);  // the same seed, the same bytes
  CHECK(upscale(directory, "base out --no-check --force --seed 1" + memory_options).status == 0);
  CHECK(all_files(directory / "out") != before);
}

TEST_CASE("upscale: every policy from the command line") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base);
  CHECK(upscale(directory,
                "base pkm --no-check --policy pkm --count 1 --num-keys 8 --top-k 2 --memory-heads 3 "
                "--query-dim 10 --key-spread 0.5")
            .status == 0);
  CHECK(read_llama_config(directory / "pkm").memory->memory_heads == 3);
  CHECK(upscale(directory, "base pro --no-check --policy llama_pro --positions 0,2").status == 0);
  CHECK(read_llama_config(directory / "pro").num_hidden_layers == 6);
  CHECK(upscale(directory, "base solar --no-check --policy solar --overlap 0").status == 0);
  CHECK(read_llama_config(directory / "solar").num_hidden_layers == 8);
  const ProgramResult refused = upscale(directory, "base no --no-check --policy solar --overlap 2");
  CHECK(refused.status == 1);
  CHECK(contains(refused.error, "upscale: solar: overlap 2 makes 4 layers of 4"));
  CHECK_FALSE(std::filesystem::exists(directory / "no"));
  CHECK(upscale(directory, "--help").status == 0);
  for (const char* const bad : {"''", "1,,3", ",", "1,3,", "x", "-1", "0x1"})
    CHECK(contains(upscale(directory, "base no --no-check --positions " + std::string(bad)).error,
                   "--positions must be an integer of at least 0, found"));
  CHECK(upscale(directory, "base octal --no-check --positions 1,03 --num-keys 010 --top-k 2").status == 0);
  CHECK(read_llama_config(directory / "octal").memory->num_keys == 10);
  CHECK(read_llama_config(directory / "octal").memory->positions == std::vector<Index>{1, 3});
  CHECK(
      contains(upscale(directory, "HuggingFaceTB/SmolLM2-135M no").error,
               "there is no directory HuggingFaceTB/SmolLM2-135M. midus takes a directory with config.json"));
  const ProgramResult words = upscale(directory, "base no three words too");
  CHECK(words.status == 1);
  CHECK(words.error == "upscale: not expected: three words too\nRun with --help for more information.\n");
}

TEST_CASE("upscale: the logits are checked before the model takes its place") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base);
  put_fake_build(directory, {1, 0.0F, 3}, {1, -0.0F, 3});
  const std::string check = " --build-for build_for.sh" + memory_options;
  const ProgramResult equal = upscale(directory, "base out" + check);
  INFO(equal.error);
  CHECK(equal.status == 0);
  CHECK(contains(equal.out, "checked: all 3 logits equal the base's"));
  CHECK(std::filesystem::exists(directory / "out/config.json"));
  const Json ids = read_json_file(directory / "ids.json");
  CHECK(ids.size() == 2);
  CHECK(ids[1].size() == 32);

  put_fake_build(directory, {1, 2, 3}, {1, 2.5F, 3});
  const ProgramResult differ = upscale(directory, "base other" + check);
  CHECK(differ.status == 1);
  CHECK(contains(differ.error,
                 "1 of 3 logits differ from the base's, by up to 0.5; midus promises equal ones"));
  CHECK_FALSE(std::filesystem::exists(directory / "other"));
  CHECK_FALSE(left_over(directory.path()));
  const ProgramResult solar = upscale(directory, "base solar --policy solar --build-for build_for.sh");
  CHECK(solar.status == 0);
  CHECK(contains(solar.out, "1 of 3 logits differ from the base's, by up to 0.5 (SOLAR"));

  put_file(directory / "build_for.sh", "echo no compiler here; exit 5\n");
  const ProgramResult failed = upscale(directory, "base other" + check);
  CHECK(failed.status == 1);
  CHECK(contains(failed.error, "(status 5)"));
  CHECK(contains(failed.error, "no compiler here"));
  CHECK_FALSE(left_over(directory.path()));
  const ProgramResult missing = upscale(directory, "base other --build-for nowhere.sh" + memory_options);
  CHECK(missing.status == 1);
  CHECK(contains(missing.error, "there is no nowhere.sh to build programs with"));
  const ProgramResult nowhere =
      run_in(directory, "env", "TMPDIR=/nope '" MIDUS_UPSCALE "' base other" + check);
  CHECK(nowhere.status == 1);
  CHECK(contains(nowhere.error, "TMPDIR, or /tmp, is no directory to write to"));
}

TEST_CASE("upscale: a signal ends the programs of the check too, and leaves nothing") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base);
  std::filesystem::create_directory(directory / "tmp");
  put_file(directory / "build_for.sh", "touch started; sleep 100000\n");
  put_file(directory / "upscale.sh", "#!/bin/sh\nTMPDIR=\"$PWD/tmp\" exec '" MIDUS_UPSCALE "' \"$@\"\n");
  std::filesystem::permissions(directory / "upscale.sh", std::filesystem::perms::owner_all);
  const ProgramResult ended = terminate_in(directory, "./upscale.sh",
                                           "base out --build-for build_for.sh" + memory_options, "started");
  CHECK(ended.status == 128 + 15);
  CHECK(contains(ended.error, "Stopping; nothing is written."));
  CHECK_FALSE(std::filesystem::exists(directory / "out"));
  CHECK_FALSE(left_over(directory.path()));
  CHECK(std::filesystem::is_empty(directory / "tmp"));
}
