// Runs the program `compare` (examples/compare.cpp) as a user does.
#include "examples/program.hpp"
#include "support/catch.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("compare: what is equal, what differs, and what is only in one") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base);
  std::filesystem::create_directory(directory / "deeper");
  const ModelOnDisk model(directory / "base");
  write_expanded(model, make_plan(model, {.num_keys = 8, .top_k = 2, .value_rank = 4}), directory / "deeper");
  const auto compare = [&](const std::string& arguments) {
    return run_in(directory, MIDUS_COMPARE, arguments);
  };

  const ProgramResult same = compare("base base");
  CHECK(same.status == 0);
  CHECK(same.out == "39 of 39 tensors that both have are equal; 0 only in base, 0 only in base\n");

  const ProgramResult deeper = compare("base deeper");
  CHECK(deeper.status == 1);
  CHECK(contains(deeper.out, "config.json differs: midus\n"));
  CHECK(contains(deeper.out, "only in deeper: model.memory_blocks.1.memory.values\n"));
  CHECK(
      contains(deeper.out, "39 of 39 tensors that both have are equal; 0 only in base, 16 only in deeper\n"));
  CHECK(compare("base deeper --only 'model.layers.*'").status == 0);

  write_random_model(directory / "respelled", with(with(base, "rope_theta", ""), "rope_parameters",
                                                   R"({"rope_theta": 500000.0, "rope_type": "default"})"));
  CHECK(compare("base respelled").status == 0);

  write_random_model(directory / "narrow", base, Dtype::bf16);
  const ProgramResult narrow = compare("base narrow --only '*.norm.weight' --only '*.0.mlp.up_proj.weight'");
  CHECK(narrow.status == 1);
  CHECK(contains(narrow.out, "differs: model.layers.0.mlp.up_proj.weight: F32 [176, 64] / BF16 [176, 64]; "));

  const ProgramResult nothing = compare("base base --only 'no such name'");
  CHECK(nothing.status == 2);
  CHECK(contains(nothing.error, "no tensor of either model"));
  CHECK(compare("base nowhere").status == 2);
  std::filesystem::create_directories(directory / "run");
  std::filesystem::rename(directory / "narrow", directory / "run" / "final");
  CHECK(contains(compare("base run").error, "name a model in it: run/final"));
  CHECK(compare("base").status == 2);
  CHECK(compare("--help").status == 0);

  // What was printed must have arrived, for this program and, by the same lines, for every other.
  for (const std::string nowhere : {"> /dev/full", ">&-"}) {
    const ProgramResult lost =
        run_in(directory, "sh", "-c '\"" + std::string(MIDUS_COMPARE) + "\" base base " + nowhere + "'");
    CHECK(lost.status == 2);
    CHECK(contains(lost.error, "compare: cannot write to standard output: "));
  }
}
