// Runs the program `detach` (examples/detach.cpp) as a user does.
#include "examples/program.hpp"
#include "support/catch.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("detach: the base comes back, byte for byte") {
  const TemporaryDirectory directory;
  write_random_model(directory / "base", base, Dtype::bf16);
  std::filesystem::create_directory(directory / "deeper");
  const ModelOnDisk model(directory / "base");
  write_expanded(model, make_plan(model, {.num_keys = 8, .top_k = 2, .value_rank = 4}), directory / "deeper");

  const ProgramResult result = run_in(directory, MIDUS_DETACH, "deeper back");
  CHECK(result.status == 0);
  CHECK(result.error.empty());
  CHECK(result.out == "wrote back without 2 Memory blocks\n");
  CHECK(all_files(directory / "back") == all_files(directory / "base"));

  CHECK(run_in(directory, MIDUS_DETACH, "deeper back").status == 1);
  CHECK(run_in(directory, MIDUS_DETACH, "deeper back --force").status == 0);
  // The card of a run goes along, as all files do, and tells of what is no longer there.
  put_file(directory / "deeper/README.md", "---\ntags: midus\n---\n# Made by midus\n");
  const ProgramResult card = run_in(directory, MIDUS_DETACH, "deeper carded");
  CHECK(card.status == 0);
  CHECK(
      card.error ==
      "warning: carded/README.md is the card of the model with its Memory blocks: say in it what is left\n");
  const ProgramResult none = run_in(directory, MIDUS_DETACH, "base other");
  CHECK(none.status == 1);
  CHECK(none.error == "detach: base/config.json: this model has no Memory blocks to detach\n");
  CHECK_FALSE(std::filesystem::exists(directory / "other"));
  const ProgramResult itself = run_in(directory, MIDUS_DETACH, "deeper deeper --force");
  CHECK(itself.status == 1);
  CHECK(contains(itself.error, "itself"));
}
