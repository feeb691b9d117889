// Runs the program `slot_use` (examples/slot_use.cpp) as a user does.
#include "examples/model_files.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("slot_use: a table and the same numbers as JSON") {
  const TemporaryDirectory directory;
  write_odd_model(directory / "model");
  for (std::size_t i = 0; i < 25 * 7; ++i)
    put_weight(directory / "model", "model.memory_blocks.1.memory.values", i, 0);
  write_bytes(directory / "a.bin", "In the beginning was a text of some length, not a multiple of eight.");
  const ProgramResult result =
      run_in(directory, MIDUS_SLOT_USE, "model --data a.bin --length 8 --json out.json");
  INFO(result.error);
  REQUIRE(result.status == 0);
  const Json json = read_json_file(directory / "out.json");
  CHECK(json["tokens"] == 67);
  CHECK(json["slots"] == 25);
  REQUIRE(json["blocks"].size() == 2);
  CHECK(contains(result.out, "block  head  slots used  KL to uniform (nats)  |read|/|x|\n"));
  for (std::size_t block = 0; block < 2; ++block) {
    const Json& of_block = json["blocks"][block];
    for (const char* const name : {"used_share", "kl_to_uniform", "read_ratio_of_heads"})
      REQUIRE(of_block[name].size() == 6);
    for (std::size_t head = 0; head < 6; ++head) {
      char row[96];
      std::snprintf(row, sizeof row, "%5zu  %4zu  %8.1f %%  %20.3f  %10.4f\n", block, head,
                    100 * of_block["used_share"][head].get<double>(),
                    of_block["kl_to_uniform"][head].get<double>(),
                    of_block["read_ratio_of_heads"][head].get<double>());
      CHECK(contains(result.out, row));
      CHECK((of_block["read_ratio_of_heads"][head] == 0.0) == (block == 1));  // no values, no reads
    }
  }
  CHECK(json["blocks"][0]["read_ratio"] > 0.0);
  CHECK(json["blocks"][1]["read_ratio"] == 0.0);
  CHECK(run_in(directory, MIDUS_SLOT_USE, "model --data a.bin").status == 0);  // 64 positions, not 128
  CHECK(contains(run_in(directory, MIDUS_SLOT_USE, "model --data a.bin --length 65").error,
                 "the model knows 64 positions"));
  const ProgramResult missing = run_in(directory, MIDUS_SLOT_USE, "model --data none.bin");
  CHECK(missing.status == 1);
  CHECK(contains(missing.error, "none.bin"));
}
