// Runs the program `logits` (examples/logits.cpp) as a user does. Its numbers are PyTorch's: test/torch.
#include <cmath>
#include <set>

#include "examples/model_files.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"

using namespace midus;
using namespace midus::test;

namespace {

/// A tensor of a safetensors file as doubles.
std::vector<double> numbers(const StoredTensor& tensor) {
  std::vector<double> values(tensor.bytes.size() / static_cast<std::size_t>(info(tensor.dtype).bits / 8));
  read_weights(tensor.dtype, tensor.bytes, std::span(values));
  return values;
}

/// The mean of -log softmax at the targets.
double mean_loss(const std::vector<double>& logits, const std::vector<int>& targets) {
  const std::size_t vocabulary = logits.size() / targets.size();
  double sum = 0, count = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] == -100) continue;
    double z = 0;
    for (std::size_t v = 0; v < vocabulary; ++v) z += std::exp(logits[i * vocabulary + v]);
    sum += std::log(z) - logits[i * vocabulary + static_cast<std::size_t>(targets[i])];
    ++count;
  }
  return sum / count;
}

struct Fixture {
  Fixture() {
    write_odd_model(directory / "model");
    put_file(directory / "ids.json", "[[5, 255, 0, 7, 7], [1, 2, 3, 4, 5], [9, 9, 9, 9, 9]]");
    put_file(directory / "targets.json",
             "[[255, 0, 7, 7, -100], [2, -100, 4, 5, 6], [-100, -100, -100, 0, 1]]");
  }
  ProgramResult logits(const std::string& arguments) const {
    return run_in(directory, MIDUS_LOGITS, arguments);
  }
  /// What standard error says where the program fails.
  std::string error(const std::string& arguments) const {
    const ProgramResult result = logits(arguments);
    CHECK(result.status == 1);
    CHECK(result.out.empty());
    return result.error;
  }
  const TemporaryDirectory directory;
  const std::vector<int> targets{255, 0, 7, 7, -100, 2, -100, 4, 5, 6, -100, -100, -100, 0, 1};
};

}  // namespace

TEST_CASE_METHOD(Fixture, "logits: logits, loss and gradients, in float and in double") {
  const std::string what = "model --ids ids.json --targets targets.json";
  const ProgramResult result = logits(what + " --out f32 --gradients g32");
  CHECK(result.error.empty());
  REQUIRE(result.status == 0);
  REQUIRE(logits(what + " --out f64 --gradients g64 --double").status == 0);
  REQUIRE(logits("model --ids ids.json --out alone").status == 0);

  const SafetensorsFile f32(directory / "f32"), f64(directory / "f64"), alone(directory / "alone");
  CHECK(f32.tensors().size() == 2);
  CHECK(f32.at("logits").dtype == Dtype::f32);
  CHECK(f64.at("logits").dtype == Dtype::f64);
  CHECK(f32.at("logits").shape == std::vector<Index>{3, 5, 256});
  CHECK(f32.at("loss").shape == std::vector<Index>{1});
  CHECK(alone.tensors().size() == 1);
  CHECK(bytes_of(alone.at("logits")) == bytes_of(f32.at("logits")));
  const std::vector<double> exact = numbers(f64.at("logits")), single = numbers(f32.at("logits"));
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    worst = std::max(worst, std::abs(exact[i] - single[i]));
    largest = std::max(largest, std::abs(exact[i]));
  }
  CHECK(worst <= 1e-5 * largest);
  CHECK(numbers(f64.at("loss"))[0] == Approx(mean_loss(exact, targets)).epsilon(1e-12));
  CHECK(numbers(f32.at("loss"))[0] == Approx(mean_loss(exact, targets)).epsilon(1e-5));

  const SafetensorsFile g32(directory / "g32"), g64(directory / "g64");
  const auto parameters =
      parameter_shapes(read_llama_config(directory / "model"));  // tied: no lm_head.weight
  CHECK(g64.tensors().size() == parameters.size());
  for (const ParameterShape& parameter : parameters) {
    INFO(parameter.name);
    CHECK(g64.at(parameter.name).shape == parameter.shape);
    CHECK(g64.at(parameter.name).dtype == Dtype::f64);
    CHECK(g32.at(parameter.name).dtype == Dtype::f32);
  }
}

TEST_CASE_METHOD(Fixture, "logits: the same bits for any number of threads") {
  const std::string what = "model --ids ids.json --targets targets.json --out out --gradients gradients";
  std::set<std::string> seen;
  for (const char* const threads : {"1", "2", "3"}) {
    REQUIRE(logits(what + " --threads " + threads).status == 0);
    seen.insert(file_bytes(directory / "out") + file_bytes(directory / "gradients"));
  }
  CHECK(seen.size() == 1);
}

TEST_CASE_METHOD(Fixture, "logits: what cannot be used is named, and nothing is written") {
  const auto with_ids = [&](const std::string& json) {
    put_file(directory / "bad.json", json);
    return error("model --ids bad.json --out out");
  };
  CHECK(contains(with_ids("[[1, 2], [3]]"),
                 "bad.json: expected a list of equally long lists of token ids, "
                 "found a list of 1 after one of 2"));
  CHECK(contains(with_ids("[]"), "equally long lists"));
  CHECK(contains(with_ids("[[]]"), "equally long lists"));
  CHECK(contains(with_ids("[1, 2]"), "equally long lists"));
  CHECK(contains(with_ids("[[1.5]]"), "found 1.5"));
  CHECK(contains(with_ids("[[\"a\"]]"), "found \"a\""));
  CHECK(contains(with_ids("[[1, 4294967296]]"), "found 4294967296"));
  CHECK(contains(with_ids("[[1, 256]]"), "token id 256 at sequence 0, position 1: the vocabulary has 256"));
  CHECK(contains(with_ids("[[1], [-1]]"), "token id -1 at sequence 1, position 0"));
  CHECK(contains(with_ids("[[1,"), "bad.json, line 1"));
  CHECK(contains(error("model --ids none.json --out out"), "none.json"));
  CHECK(contains(error("none --ids ids.json --out out"), "none"));
  CHECK(contains(error("model --ids ids.json --out none/out"), "none/out"));
  CHECK(contains(error("model --ids ids.json --out out --gradients g"), "--targets"));
  CHECK(contains(error("model --ids ids.json"), "--out"));
  std::string ids = "[[1";
  for (int i = 0; i < 64; ++i) ids += ",1";
  CHECK(contains(with_ids(ids + "]]"), "bad.json: the model knows 64 positions"));
  const std::string bytes = file_bytes(directory / "ids.json");
  CHECK(contains(error("model --ids ids.json --out ids.json"), "--out ids.json would replace"));
  CHECK(contains(error("model --ids ids.json --out model/model.safetensors"), "would replace"));
  CHECK(contains(error("model --ids ids.json --targets targets.json --out x --gradients ./x"),
                 "--gradients and --out name the same file"));
  CHECK(file_bytes(directory / "ids.json") == bytes);
  put_file(directory / "bad.json", "[[-100, -100]]");
  CHECK(contains(error("model --ids ids.json --targets bad.json --out out"), "no target counts"));
  put_file(directory / "bad.json", "[[1, 2]]");
  CHECK(contains(error("model --ids ids.json --targets bad.json --out out"), "do not fit ids"));
  CHECK_FALSE(std::filesystem::exists(directory / "out"));
}

TEST_CASE_METHOD(Fixture, "logits: a weight that is not finite is named", "[GN-09]") {
  const std::string name = "model.memory_blocks.1.memory.value_proj";
  put_weight(directory / "model", name, 11, std::nanf(""));
  CHECK(contains(error("model --ids ids.json --out out"), name + " holds nan (element 11 of 252)"));
  put_weight(directory / "model", name, 11, INFINITY);
  CHECK(contains(error("model --ids ids.json --out out"), name + " holds inf"));
  put_weight(directory / "model", name, 11, 1);
  for (std::size_t i = 0; i < 36; ++i) put_weight(directory / "model", "model.norm.weight", i, 3e38f);
  CHECK(contains(error("model --ids ids.json --out out"), "are not finite"));
  CHECK_FALSE(std::filesystem::exists(directory / "out"));
}

TEST_CASE_METHOD(Fixture, "logits: a program built for another shape says what differs and what to do") {
  Json json = read_json_file(odd_config / "config.json");
  json["midus"]["num_keys"] = 4;
  json["num_key_value_heads"] = 3;
  write_random_model(directory / "other", json);
  const std::string message = error("other --ids ids.json --out out");
  CHECK(contains(message, "num_key_value_heads is 3, the program's is 2;"));
  CHECK(contains(message, "midus.num_keys is 4, the program's is 5;"));
  CHECK(contains(message, "bash examples/build_for.sh other\n"));
  CHECK_FALSE(contains(message, "vocab_size"));
}
