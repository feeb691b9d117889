// Runs the program `evaluate` (examples/evaluate.cpp) as a user does.
#include <cmath>
#include <numbers>
#include <set>

#include "examples/model_files.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"

using namespace midus;
using namespace midus::test;

namespace {

struct Fixture {
  Fixture() {
    write_odd_model(directory / "model");
    write_bytes(directory / "a.bin", "In the beginning was a text of some length, not a multiple of eight.");
    write_bytes(directory / "b.bin", "And there was another one.");
  }
  ProgramResult evaluate(const std::string& arguments) const {
    return run_in(directory, MIDUS_EVALUATE, arguments);
  }
  /// What the program writes to --json.
  Json numbers(const std::string& arguments) const {
    const ProgramResult result = evaluate(arguments + " --json out.json");
    INFO(result.error);
    REQUIRE(result.status == 0);
    return read_json_file(directory / "out.json");
  }
  std::string error(const std::string& arguments) const {
    const ProgramResult result = evaluate(arguments);
    CHECK(result.status == 1);
    CHECK(result.out.empty());
    return result.error;
  }
  const TemporaryDirectory directory;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "evaluate: the mean over every token but the first, by name") {
  const std::string both = "model --data one=a.bin --data two=b.bin --length 8";
  const Json json = numbers(both);
  CHECK(json["length"] == 8);
  REQUIRE(json["results"].size() == 2);
  const Json &one = json["results"][0], &two = json["results"][1];
  CHECK(one["name"] == "one");
  CHECK(one["file"] == "a.bin");
  CHECK(one["tokens"] == 67);  // of 68
  CHECK(two["tokens"] == 25);
  const double loss = one["loss"].get<double>();
  CHECK(loss > 1);
  CHECK(loss != two["loss"].get<double>());
  CHECK(one["perplexity"].get<double>() == Approx(std::exp(loss)));
  CHECK(one["bits_per_byte"].get<double>() == Approx(loss / std::numbers::ln2));

  const ProgramResult table = evaluate(both);
  CHECK(contains(table.out, "bits/byte"));
  CHECK(contains(table.out, "\none "));
  CHECK(contains(table.out, "\ntwo "));
  char text[32];
  std::snprintf(text, sizeof text, " %.4f ", loss);
  CHECK(contains(table.out, text));

  // How many windows are computed at once, and by how many threads, is not in the numbers.
  std::set<std::string> seen;
  for (const char* const threads : {"1", "2", "3"})
    seen.insert(numbers(both + " --threads " + threads)["results"].dump());
  CHECK(seen.size() == 1);
  for (const char* const batch : {"1", "2", "100"})
    CHECK(numbers(both + " --batch " + batch)["results"][0]["loss"].get<double>() ==
          Approx(loss).epsilon(1e-5));
  // The first tokens only, where a whole file would take too long.
  const Json limited = numbers(both + " --limit 30")["results"];
  CHECK(limited[0]["tokens"] == 30);
  CHECK(limited[1]["tokens"] == 25);
  CHECK(limited[1]["loss"] == two["loss"]);
  // Longer windows are other contexts.
  CHECK(numbers("model --data one=a.bin --length 64")["results"][0]["loss"].get<double>() != Approx(loss));
}

TEST_CASE_METHOD(Fixture, "evaluate: a model that knows nothing has 8 bits a byte") {
  const LlamaConfig config = read_llama_config(directory / "model");
  std::vector<TestTensor> zeros;
  for (const ParameterShape& parameter : parameter_shapes(config)) {
    std::size_t size = sizeof(float);
    for (const Index extent : parameter.shape) size *= static_cast<std::size_t>(extent);
    zeros.push_back({parameter.name, Dtype::f32, parameter.shape, std::string(size, '\0')});
  }
  write_checkpoint_file(directory / "model" / "model.safetensors", zeros);
  const Json result = numbers("model --data one=a.bin")["results"][0];
  CHECK(result["bits_per_byte"].get<double>() == Approx(8).epsilon(1e-6));
  CHECK(result["perplexity"].get<double>() == Approx(256).epsilon(1e-6));
}

TEST_CASE_METHOD(Fixture, "evaluate: tokens that do not count are read and not scored") {
  TokenWriter writer(directory / "w.bin", {.weighted = true});
  const std::vector<std::int32_t> ids{1, 2, 3, 4, 5, 6};
  writer.append(ids, std::vector<std::uint8_t>{1, 0, 1, 1, 0, 0});
  writer.commit();
  CHECK(numbers("model --data w=w.bin")["results"][0]["tokens"] == 2);
  TokenWriter none(directory / "none.bin", {.weighted = true});
  none.append(ids, std::vector<std::uint8_t>(6, 0));
  none.commit();
  CHECK(contains(error("model --data w=none.bin"), "none.bin: no target counts"));
}

TEST_CASE_METHOD(Fixture, "evaluate: weights kept as bfloat16") {
  const std::string what = " --data a=a.bin";
  const double wide = numbers("model" + what)["results"][0]["loss"].get<double>();
  const double narrow = numbers("model --store bf16" + what)["results"][0]["loss"].get<double>();
  CHECK(wide != narrow);  // they were rounded
  CHECK(narrow == Approx(wide).epsilon(0.05));
  CHECK(contains(error("model --store f8" + what), "--store"));
}

TEST_CASE_METHOD(Fixture, "evaluate: where tokens are not bytes, bits per byte are not made up") {
  put_file(directory / "model/tokenizer.json", "{}");
  CHECK(contains(error("model --data a=a.bin"), "no tokenizer (its tokens are bytes)"));
  TokenWriter writer(directory / "t.bin", {.tokenizer = sha256_file(directory / "model/tokenizer.json")});
  writer.append(std::vector<std::int32_t>{1, 2, 3});
  writer.commit();
  CHECK(numbers("model --data t=t.bin")["results"][0]["bits_per_byte"].is_null());
  const std::string table = evaluate("model --data t=t.bin").out;
  CHECK(contains(table, "bits/token"));
  CHECK(contains(table, "Bits per byte need the length of the text in bytes"));
  TokenWriter known(directory / "k.bin", {.tokenizer = sha256_file(directory / "model/tokenizer.json")});
  known.append(std::vector<std::int32_t>{1, 2, 3});
  known.set_text_bytes(12);
  known.commit();
  const Json result = numbers("model --data k=k.bin")["results"][0];
  CHECK(result["bits_per_byte"].get<double>() == Approx(result["bits_per_token"].get<double>() / 4));
  CHECK(numbers("model --data k=k.bin --limit 1")["results"][0]["bits_per_byte"].is_null());
  CHECK(contains(evaluate("model --data k=k.bin --limit 1").out, "leave --limit out"));
}

TEST_CASE_METHOD(Fixture, "evaluate: what cannot be used is named") {
  CHECK(contains(error("model --data a.bin"), "expected NAME=FILE, found \"a.bin\""));
  CHECK(contains(error("model --data =a.bin"), "expected NAME=FILE"));
  CHECK(contains(error("model --data a="), "expected NAME=FILE"));
  CHECK(contains(error("model --data a=a.bin --data a=b.bin"), "two files have the name \"a\""));
  CHECK(contains(error("model --data a=none.bin"), "none.bin"));
  CHECK(contains(error("model --data a=model/config.json"), "not a token file"));
  CHECK(contains(error("model"), "--data"));
  CHECK(contains(error("model --data a=a.bin --length 0"),
                 "--length must be an integer of at least 1, found \"0\""));
  CHECK(contains(error("model --data a=a.bin --length -1"), "--length"));
  CHECK(contains(error("model --data a=a.bin --length 65"), "knows 64 positions (max_position_embeddings)"));
  CHECK(contains(error("model --data a=a.bin --batch 0"),
                 "--batch must be an integer of at least 1, found \"0\""));
  for (const char* const bad : {"''", "010x", "0x10", "1e3", "+5", "' 5'", "5.", "9223372036854775808"})
    CHECK(contains(error(std::string("model --data a=a.bin --batch ") + bad), "--batch must be an integer"));
  CHECK(numbers("model --data a=a.bin --length 010")["length"] == 10);  // not octal
  CHECK(contains(error("model --data --length 5"),
                 "--data: expected a value, found the option --length; if that is the value, write "
                 "--data=--length"));
  CHECK(contains(error("model --data a=a.bin --json= --batch 3 --store f8"), "--store"));
  write_bytes(directory / "short.bin", "x");
  CHECK(contains(error("model --data a=short.bin"), "an evaluation needs at least 2"));
  TokenWriter large(directory / "large.bin", {.vocabulary = 300});
  large.append(std::vector<std::int32_t>{1, 2});
  large.commit();
  CHECK(contains(error("model --data a=large.bin"), "its vocabulary is 300, the model's is 256"));
  TokenWriter small(directory / "small.bin",
                    {.vocabulary = 100});  // no tokenizer says that the table is padded
  small.append(std::vector<std::int32_t>{1, 2, 3});
  small.commit();
  CHECK(contains(error("model --data a=small.bin"), "its vocabulary is 100, the model's is 256"));
  put_weight(directory / "model", "model.layers.1.self_attn.q_proj.weight", 5, std::nanf(""));
  CHECK(contains(error("model --data a=a.bin"), "model.layers.1.self_attn.q_proj.weight holds nan"));
  Json json = read_json_file(odd_config / "config.json");
  json["tie_word_embeddings"] = false;
  write_random_model(directory / "other", json);
  CHECK(contains(error("other --data a=a.bin"), "tie_word_embeddings is false, the program's is true"));
}

TEST_CASE_METHOD(Fixture, "evaluate: --json is checked before the work, and replaces nothing that is read") {
  const std::string what = "model --data a=a.bin --json ";
  const std::string bytes = file_bytes(directory / "a.bin"),
                    config = file_bytes(directory / "model/config.json");
  CHECK(contains(error(what + "none/out.json"), "there is no directory none"));
  CHECK(contains(error(what + "./a.bin"), "--json ./a.bin would replace what the program reads"));
  std::filesystem::create_hard_link(directory / "a.bin", directory / "link");
  CHECK(contains(error(what + "link"), "would replace what the program reads"));
  CHECK(contains(error(what + "model/config.json"), "would replace what the program reads"));
  CHECK(file_bytes(directory / "a.bin") == bytes);
  CHECK(file_bytes(directory / "model/config.json") == config);
  for (int i = 0; i < 2; ++i) CHECK(evaluate(what + "model/results.json").status == 0);  // a file of its own
}

TEST_CASE_METHOD(Fixture, "evaluate: what was printed must have arrived, and devices are not replaced") {
  const std::string what = "model --data a=a.bin";
  const auto printed_to = [&](const std::filesystem::path& program, const std::string& arguments) {
    return run_in(directory, "sh", "-c '\"" + program.string() + "\" " + arguments + " > /dev/full'");
  };
  const ProgramResult lost = printed_to(MIDUS_EVALUATE, what + " --json out.json");
  CHECK(lost.status == 1);
  CHECK(contains(lost.error, "evaluate: cannot write to standard output: No space left on device"));
  CHECK(read_json_file(directory / "out.json")["results"].size() == 1);
  for (const char* const name :
       {"score", "sample", "slot_use", "head_ablation", "logits", "cpt", "pretrain"}) {
    const ProgramResult help =
        printed_to(std::filesystem::path(MIDUS_EVALUATE).parent_path() / name, "--help");
    CHECK(help.status == 1);
    CHECK(contains(help.error, std::string(name) + ": cannot write to standard output: "));
  }
  std::filesystem::create_symlink("/dev/full", directory / "full");
  CHECK(contains(error(what + " --json full"), "expected a file, found a device or a pipe"));
  CHECK(std::filesystem::is_symlink(directory / "full"));
}

TEST_CASE_METHOD(Fixture, "evaluate: names that are no UTF-8, and files that cannot be looked up") {
  std::filesystem::copy_file(directory / "a.bin", directory / "caf\xe9.bin");
  const Json result = numbers("model --data caf\xe9=caf\xe9.bin")["results"][0];
  CHECK(result["name"] == "caf\xef\xbf\xbd");
  CHECK(result["file"] == "caf\xef\xbf\xbd.bin");
  std::filesystem::create_symlink("tokenizer.json", directory / "model/tokenizer.json");
  CHECK(error("model --data a=a.bin") ==
        "evaluate: cannot open model/tokenizer.json: Too many levels of symbolic links\n");
  CHECK(contains(error("model --data a=" + std::string(300, 'x')), "x: File name too long"));
}

TEST_CASE_METHOD(Fixture, "evaluate: of a run, it names the models in it") {
  std::filesystem::create_directory(directory / "run");
  std::filesystem::rename(directory / "model", directory / "run/final");
  CHECK(contains(error("run --data a=a.bin"), "run holds a training run; name a model in it: run/final\n"));
}

TEST_CASE_METHOD(Fixture, "evaluate: types by both their names") {
  const std::string what = "model --data a=a.bin --store ";
  CHECK(numbers(what + "bfloat16")["results"] == numbers(what + "bf16")["results"]);
  CHECK(numbers(what + "float32")["store"] == "f32");
  CHECK(contains(error(what + "float16"), "--store must be one of float32,bfloat16, found \"float16\""));
  CHECK(contains(evaluate("--help").out, "{float32,bfloat16}"));
}
