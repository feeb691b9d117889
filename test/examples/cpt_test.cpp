// Runs the programs `pretrain` and `cpt` (examples/) as a user does.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "examples/model_files.hpp"
#include "examples/program.hpp"
#include "midus/train/run_directory.hpp"
#include "midus/train/step_record.hpp"
#include "support/catch.hpp"

using namespace midus;
using namespace midus::test;

namespace {

const std::string pretrain_program = (std::filesystem::path(MIDUS_CPT).parent_path() / "pretrain").string();

struct Fixture {
  Fixture() {
    Json config = read_json_file(odd_config / "config.json");
    config["depth_upscaling"] = {{"version", 1},
                                 {"history",
                                  {{{"policy", "midus"},
                                    {"inserted", {"model.memory_blocks.0.", "model.memory_blocks.1."}},
                                    {"parent_layers", 3},
                                    {"parent_positions", {0, 2}},
                                    {"seed", 1}}}}};
    write_random_model(directory / "model", config);
    std::filesystem::remove(directory / "model/tokenizer.json");  // its tokens are bytes
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += "verse " + std::to_string(i * i) + " of a text that repeats itself\n";
    write_bytes(directory / "a.bin", text);
    write_bytes(directory / "b.bin", "And there was another one, shorter than the first.");
  }
  ProgramResult cpt(const std::string& arguments) const { return run_in(directory, MIDUS_CPT, arguments); }
  void succeed(const ProgramResult& result) const {
    INFO(result.error);
    REQUIRE(result.status == 0);
  }
  std::string error(const std::string& arguments) const {
    const ProgramResult result = cpt(arguments);
    CHECK(result.status == 1);
    return result.error;
  }
  /// The lines of RUN/log.jsonl without what is measured.
  std::vector<std::string> log(const std::string& run) const {
    std::istringstream file(file_bytes(directory / run / "log.jsonl"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
      Json json = Json::parse(line);
      for (const char* const key : {"tokens_per_s", "peak_share", "peak_bytes", "time"}) json.erase(key);
      lines.push_back(json.dump());
    }
    return lines;
  }
  const TemporaryDirectory directory;
};

const std::string small = " --batch 3 --length 8 --learning-rate 0.01 --warmup 2 --threads 2";

/// The tensors of two models that differ.
std::set<std::string> changed(const std::filesystem::path& left, const std::filesystem::path& right) {
  const SafetensorsFile a(left / "model.safetensors"), b(right / "model.safetensors");
  std::set<std::string> names;
  for (const auto& [name, tensor] : a.tensors())
    if (!std::ranges::equal(tensor.bytes, b.at(name).bytes)) names.insert(name);
  return names;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "cpt: trains what is inserted, and nothing else") {
  const ProgramResult result = cpt(
      "model --data a.bin --eval old=a.bin --eval new=b.bin --out run --steps 6 --weight-decay 0.1" + small);
  succeed(result);
  const auto names = changed(directory / "model", directory / "run/final");
  CHECK(names.size() == 16);
  for (const std::string& name : names) CHECK(name.starts_with("model.memory_blocks."));
  CHECK(contains(result.error, "trains model.memory_blocks.{0,1}.self_attn.k_proj.weight [12, 36]\n"));

  const auto lines = log("run");
  REQUIRE(lines.size() == 6);
  CHECK(Json::parse(lines[5])["step"] == 6);
  CHECK(Json::parse(lines[5])["tokens"] == 6 * 3 * 8);
  const std::string csv = file_bytes(directory / "run/log.csv");
  CHECK(std::ranges::count(csv, '\n') == 7);
  const std::string evaluations = file_bytes(directory / "run/evaluations.jsonl");
  const Json first = parse_json(evaluations.substr(0, evaluations.find('\n')), "1");
  CHECK(first.at("bits_per_byte").get<double>() == Approx(first.at("loss").get<double>() / std::log(2)));
  CHECK(std::ranges::count(evaluations, '\n') == 4);  // both files, before the first step and after the last
  // What was beside the weights goes along, but for what the run changed.
  CHECK(read_json_file(directory / "run/final/config.json") ==
        read_json_file(directory / "model/config.json"));
}

TEST_CASE_METHOD(Fixture, "cpt: patterns choose what trains, the head of a tied model by its own name too") {
  succeed(cpt("model --data a.bin --out run --steps 2 --train lm_head.weight '*.layers.1.mlp.*'" + small));
  CHECK(changed(directory / "model", directory / "run/final") ==
        std::set<std::string>{"model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight",
                              "model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.up_proj.weight"});
  CHECK(contains(error("model --data a.bin --out other --train '*.moemory.*'"),
                 "no parameter has the form \"*.moemory.*\""));
  CHECK(contains(error("model --data a.bin --out other --train insrted"), "expected inserted, inserted:all"));
}

TEST_CASE_METHOD(Fixture, "cpt: the one table of a tied model trains by either name, and alone", "[DU-06]") {
  for (const std::string name : {"lm_head.weight", "model.embed_tokens.weight"})
    succeed(
        cpt("model --data a.bin --out " + name + " --steps 2 --weight-decay 0.1 --train " + name + small));
  CHECK(changed(directory / "model", directory / "lm_head.weight/final") ==
        std::set<std::string>{"model.embed_tokens.weight"});
  CHECK(changed(directory / "lm_head.weight/final", directory / "model.embed_tokens.weight/final").empty());
}

TEST_CASE_METHOD(Fixture, "cpt: stopped and resumed, a run has the log and the weights of one that was not") {
  const std::string options =
      "model --data a.bin=2 --data b.bin=1 --steps 7 --rate-scale '*.memory.values=5'" + small;
  succeed(cpt(options + " --out whole --checkpoint-every 3 --keep-last 9"));
  // A run that ended after step 3 has its first checkpoint alone.
  std::filesystem::create_directory(directory / "cut");
  std::filesystem::copy(directory / "whole/step-00000003", directory / "cut/step-00000003");
  for (const char* const name : {"log.jsonl", "evaluations.jsonl"})
    if (std::filesystem::exists(directory / "whole" / name))
      std::filesystem::copy_file(directory / "whole" / name, directory / "cut" / name);
  CHECK(contains(error(options + " --out cut"), "give --resume to go on with it, or --force"));
  succeed(cpt(options + " --out cut --resume"));
  CHECK(log("cut") == log("whole"));
  CHECK(changed(directory / "whole/final", directory / "cut/final").empty());
  CHECK(contains(
      error(options + " --out cut --resume --seed 2 --floor 0.5 --accumulate 2"),
      "the run has accumulate 1, seed 1, floor 0.1; this continuation has accumulate 2, seed 2, floor 0.5"));
  const ProgramResult again = cpt(options + " --out cut --resume");
  succeed(again);
  CHECK(contains(again.error, "all 7 steps are done already\n"));
  CHECK_FALSE(contains(again.error, "wrote"));
  std::filesystem::remove_all(directory / "cut/final");
  CHECK(contains(cpt(options + " --out cut --resume").error, "wrote cut/final"));

  CHECK(contains(error(options + " --out cut --resume --eval new=b.bin"), "evaluates on"));

  // What --force replaces stays until the new run can begin.
  CHECK(contains(error(options + " --out cut --force --train typo"), "typo"));
  CHECK(log("cut") == log("whole"));
  succeed(cpt(options + " --out cut --force"));
  CHECK(log("cut") == log("whole"));

  // Nor is the model to start from removed before it has been read to the end.
  CHECK(contains(error("cut/final --train everything --data a.bin --out cut --force --steps 3" + small),
                 "cut/final lies in the run that would be replaced, cut"));
  CHECK(log("cut") == log("whole"));

  // Without checkpoints it is a run all the same.
  for (const auto& [step, path] : training_checkpoints(directory / "cut")) std::filesystem::remove_all(path);
  CHECK(contains(error(options + " --out cut"), "holds a run already"));
  CHECK(log("cut") == log("whole"));
}

TEST_CASE_METHOD(Fixture, "cpt: the model comes out in the type that it came in") {
  write_odd_model(directory / "half", Dtype::bf16);
  const auto dtype = [&](const std::string& name) {
    return SafetensorsFile(directory / name / "model.safetensors")
        .at("model.layers.2.mlp.up_proj.weight")
        .dtype;
  };
  const std::string half = "half --data a.bin --steps 2 --train '*.layers.2.*'" + small;
  succeed(cpt(half + " --out as_it_was"));
  CHECK(dtype("as_it_was/final") == Dtype::bf16);
  CHECK(dtype("as_it_was/step-00000002") == Dtype::f32);
  for (const std::string& name : changed(directory / "half", directory / "as_it_was/final"))
    CHECK(name.starts_with("model.layers.2."));
  succeed(cpt(half + " --out wide --dtype float32"));
  CHECK(dtype("wide/final") == Dtype::f32);
  // Stored as bfloat16, what is frozen comes out as it was, and the losses are nearly the same.
  succeed(cpt(half + " --out stored --store-frozen bf16"));
  const auto loss = [&](const char* run) { return Json::parse(log(run)[1])["loss"].get<double>(); };
  CHECK(loss("stored") == Approx(loss("as_it_was")).epsilon(1e-3));
  // What the type cannot hold is no result; the run can go on to one.
  const std::string wide = "model --data a.bin --steps 2" + small;
  put_weight(directory / "model", "model.layers.1.mlp.up_proj.weight", 7, 1e5f);
  const ProgramResult narrow = cpt(wide + " --out narrow --dtype float16");
  CHECK(narrow.status == 1);
  CHECK(
      contains(narrow.error, "tensor model.layers.1.mlp.up_proj.weight cannot be written as F16: element 7"));
  CHECK_FALSE(std::filesystem::exists(directory / "narrow/final"));
  CHECK(training_checkpoints(directory / "narrow").size() == 1);
  succeed(cpt(wide + " --out narrow --resume"));
  CHECK(dtype("narrow/final") == Dtype::f32);
}

TEST_CASE_METHOD(Fixture, "cpt: what is wrong with the command is said") {
  const auto says = [&](const std::string& arguments, const char* what) {
    INFO(arguments);
    CHECK_THAT(error(arguments + " --out run" + small), Catch::Contains(what));
    CHECK_FALSE(std::filesystem::exists(directory / "run"));
  };
  says("model --data a.bin=heavy", "--data's WEIGHT in FILE=WEIGHT must be a number, found \"heavy\"");
  says("model --data a.bin --eval b.bin", "--eval: expected NAME=FILE");
  says("model --data a.bin --decay steps", "steps");
  says("model --data none.bin", "none.bin");
  says("none --data a.bin", "none");
  says("model --data a.bin --seed 18446744073709551616", "--seed must be an integer from 0 to 2^64 - 1");
  says("model --data a.bin --seed 010x", "--seed must be an integer");
  says("model --data a.bin --checkpoint-every=-1", "--checkpoint-every must be an integer of at least 0");
  says("model --data a.bin --beta1 1", "--beta1 must be a number from 0 to 0.9999999, found \"1\"");
  for (const char* const bad :
       {"0", "1e-46", "1e-300", "1e39", "-1"})  // in the arithmetic of the update, too
    says("model --data a.bin --epsilon=" + std::string(bad),
         "--epsilon must be a number from 1e-45 to 3.4028234663852886e+38, found");
  says("model --data a.bin --weight-decay 1e39", "--weight-decay must be a number from 0 to 3.40282346638");
  for (const char* const bad : {"''", "0x10", "1e", "1,5", "nan"})
    says(("model --data a.bin --floor " + std::string(bad)).c_str(), "--floor must be a number from 0 to 1");
  says("model --data a.bin --keep-last -2", "--keep-last must be an integer of at least 0, found \"-2\"");
  says("model --data a.bin --eval x=a.bin x=b.bin", "--eval: two files have the name \"x\"");
  says("model --train --data a.bin", "--train: expected a value, found the option --data");
  says("model --data a.bin --rate-scale 3", "--rate-scale: expected PATTERN=X");
  CHECK(contains(error("model --data a.bin --out run --length 65"), "the model knows 64 positions"));
  for (const char* const dry_run : {"", " --dry-run"})
    for (const char* const huge :
         {"--batch 300000000", "--batch 9000000000000000000", "--accumulate 30000000000"})
      CHECK_THAT(error("model --data a.bin --out run --length 8 " + std::string(huge) + dry_run),
                 Catch::Contains("MiB at least, more than the"));
  CHECK_FALSE(std::filesystem::exists(directory / "run"));
  write_bytes(directory / "a=b.bin", "a file whose name holds a sign that separates its weight");
  succeed(cpt("model --data a=b.bin --out odd --steps 2 " + small));
  const ProgramResult dry = cpt("model --data a.bin --out run --dry-run" + small);
  succeed(dry);
  CHECK(contains(dry.out, "trains model.memory_blocks.{0,1}.memory.values [25, 7]\n"));
  CHECK(contains(dry.out, "activations"));
  CHECK_FALSE(std::filesystem::exists(directory / "run/final"));
}

TEST_CASE_METHOD(Fixture, "cpt: a dry run says what memory the run takes") {
  const std::string run =
      "model --train everything --data a.bin --length 64 --batch 512 --steps 2 --threads 2 --out run";
  const ProgramResult dry = cpt(run + " --dry-run");
  succeed(dry);
  const double said = std::stod(dry.out.substr(dry.out.find("memory ") + 7));
  succeed(cpt(run));
  const double used =
      static_cast<double>(read_step_log(directory / "run/log.jsonl").back().peak_bytes) / 0x1p20;
  INFO(said << " MiB said, " << used << " used");
  CHECK(used > 100);
  CHECK(said >= used);
  CHECK(said <= 1.05 * used);
}

TEST_CASE_METHOD(Fixture, "pretrain: a new model from its config.json alone, the same for the same seed") {
  std::filesystem::create_directory(directory / "shape");
  std::filesystem::copy_file(odd_config / "config.json", directory / "shape/config.json");
  const auto pretrain = [&](const std::string& arguments) {
    succeed(run_in(directory, pretrain_program, "shape --data a.bin --steps 3" + small + arguments));
  };
  pretrain(" --out one --seed 1");
  pretrain(" --out two --seed 1");
  pretrain(" --out three --seed 2");
  CHECK(changed(directory / "one/final", directory / "two/final").empty());
  CHECK(log("one") == log("two"));
  CHECK(log("one") != log("three"));
  const std::string help = run_in(directory, pretrain_program, "--help").out;
  CHECK_FALSE(contains(help, "start from"));
  CHECK_FALSE(contains(help, "--store-frozen"));
  // All of it trained, and `cpt` goes on with it.
  succeed(cpt("one/final --data a.bin --out more --steps 2 --train everything" + small));
  CHECK(changed(directory / "one/final", directory / "more/final").size() > 20);
  // A dry run of a new start is not that of the run which is there.
  const ProgramResult dry =
      cpt("one/final --data a.bin --out more --dry-run --steps 2 --train everything" + small);
  succeed(dry);
  CHECK(contains(dry.error, "read one/final/"));
}

TEST_CASE_METHOD(Fixture, "cpt: a broken checkpoint is named, and the one before it") {
  const std::string run = "model --data a.bin --out run --steps 4 --checkpoint-every 1 --keep-last 2" + small;
  succeed(cpt(run));
  put_file(directory / "run/step-00000004/model.safetensors", "short");
  const std::string said = cpt(run + " --resume").error;
  CHECK(contains(said, "run/step-00000004/model.safetensors"));
  CHECK(contains(
      said, "The checkpoint before it is run/step-00000003: remove run/step-00000004 to go on from there"));
  std::filesystem::remove_all(directory / "run/step-00000004");
  succeed(cpt(run + " --resume"));
  for (const char* const data : {"--data none.bin", "--data a.bin --eval x=none.bin"}) {
    const std::string missing = error("model --out run --resume " + std::string(data));
    CHECK(contains(missing, "none.bin"));
    CHECK(missing.starts_with("cpt: "));  // before it says that it reads the model
  }
}

TEST_CASE_METHOD(Fixture, "cpt: an option that takes all words is named where it took the directory") {
  CHECK(contains(cpt("--train everything model --data a.bin --out run").error,
                 "cpt: CHECKPOINT_DIR is required; all words up to the next option or -- belong to "));
  CHECK(contains(cpt("--dta a.bin --out run").error, "cpt: not expected: --dta; and --data is required"));
}
