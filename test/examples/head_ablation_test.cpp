// Runs the program `head_ablation` (examples/head_ablation.cpp) as a user does.
#include "examples/model_files.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("head_ablation: every head's number is that of a checkpoint in which its values are zero") {
  const TemporaryDirectory directory;
  write_odd_model(directory / "model");
  write_bytes(directory / "a.bin", "In the beginning was a text of some length, not a multiple of eight.");
  const std::string options = " --length 8 --json out.json ";
  const ProgramResult result = run_in(directory, MIDUS_HEAD_ABLATION, "model --data a.bin" + options);
  INFO(result.error);
  REQUIRE(result.status == 0);
  const Json json = read_json_file(directory / "out.json");
  CHECK(json["tokens"] == 67);
  CHECK(contains(result.out, "loss with all memories: "));
  REQUIRE(json["blocks"].size() == 2);
  const auto loss_of = [&](const std::string& model) {  // by another program
    const std::string program =
        (std::filesystem::path(MIDUS_HEAD_ABLATION).parent_path() / "evaluate").string();
    const ProgramResult evaluated = run_in(directory, program, model + " --data a=a.bin" + options);
    INFO(evaluated.error);
    REQUIRE(evaluated.status == 0);
    return read_json_file(directory / "out.json")["results"][0]["loss"].get<double>();
  };
  CHECK(json["loss"] == loss_of("model"));
  constexpr std::size_t heads = 6, rank = 7, head_dim = 6;
  for (std::size_t block = 0; block < 2; ++block) {
    REQUIRE(json["blocks"][block]["increase"].size() == heads);
    for (const std::size_t head : {std::size_t{0}, heads - 1}) {
      std::filesystem::remove_all(directory / "without");
      std::filesystem::copy(directory / "model", directory / "without");
      for (std::size_t i = 0; i < rank * head_dim; ++i)
        put_weight(directory / "without",
                   "model.memory_blocks." + std::to_string(block) + ".memory.value_proj",
                   head * rank * head_dim + i, 0);
      const double loss = loss_of("without");
      CHECK(json["blocks"][block]["loss_without"][head] == loss);
      CHECK(json["blocks"][block]["increase"][head] == loss - json["loss"].get<double>());
      CHECK(json["blocks"][block]["increase"][head] != 0.0);
      char cell[32];
      std::snprintf(cell, sizeof cell, "%+9.5f", loss - json["loss"].get<double>());
      CHECK(contains(result.out, cell));
    }
  }
}

TEST_CASE("head_ablation: what cannot be done is said") {
  const TemporaryDirectory directory;
  write_odd_model(directory / "model");
  write_bytes(directory / "a.bin", "In the beginning");
  const auto error = [&](const std::string& arguments) {
    const ProgramResult result = run_in(directory, MIDUS_HEAD_ABLATION, arguments);
    CHECK(result.status == 1);
    CHECK(result.out.empty());
    return result.error;
  };
  CHECK(contains(error("model"), "--data"));
  CHECK(contains(error("model --data none.bin"), "none.bin"));
  CHECK(contains(error("none --data a.bin"), "none"));
  CHECK(contains(error("model --data a.bin --length 0"),
                 "--length must be an integer of at least 1, found \"0\""));
  CHECK(contains(error("model --data a.bin --length 65"), "the model knows 64 positions"));
  CHECK(contains(error("model --data a.bin --json a.bin"), "would replace what the program reads"));
  CHECK(contains(error("model --data a.bin --batch 0"),
                 "--batch must be an integer of at least 1, found \"0\""));
}
