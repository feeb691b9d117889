#include "midus/io/weight_reader.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "midus/io/hf_checkpoint.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/peak_memory.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

constexpr Index elements = (1 << 16) * 3 + 5;  // several tasks, the last one short

std::string bytes_of(const std::vector<double>& values, Dtype dtype) {
  const auto bytes = weight_bytes(std::span<const double>(values), dtype);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<double> random_values() {
  std::vector<double> values(static_cast<std::size_t>(elements));
  for (Index i = 0; i < elements; ++i) values[static_cast<std::size_t>(i)] = Random(1, "values").normal(i);
  return values;
}

template <class To>
std::vector<To> read(const CheckpointFiles& files, const LoadOptions& options = {}, int threads = 3) {
  Cpu<float> device(threads);
  std::vector<To> to(static_cast<std::size_t>(elements));
  WeightReader(device, files, options).read("x", View<To, 1>(to.data(), Shape<1>{{elements}}));
  return to;
}

template <class To>
void check_every_source() {
  const std::vector<double> values = random_values();
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
    INFO(to_string(dtype));
    const TemporaryDirectory directory;
    // A byte before it: nothing promises that a tensor is aligned.
    const std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":")" +
                               std::string(to_string(dtype)) + R"(","shape":[)" + std::to_string(elements) +
                               R"(],"data_offsets":[1,)" +
                               std::to_string(1 + elements * info(dtype).bits / 8) + "]}}";
    put_file(directory / "model.safetensors", raw_safetensors(header, "." + bytes_of(values, dtype)));
    const CheckpointFiles files(directory.path());
    std::vector<To> expected(values.size());
    read_weights(dtype, files.at("x").bytes, std::span(expected));
    CHECK((read<To>(files, {.require_finite = true}) == expected));
    CHECK((read<To>(files, {}, 1) == expected));
    CHECK((read<To>(files) == expected));  // again: what was released is read again
  }
}

}  // namespace

TEST_CASE("weight reader: every type into every type, in parallel as one after the other") {
  check_every_source<float>();
  check_every_source<double>();
  check_every_source<bfloat16>();
}

TEST_CASE("weight reader: the first weight that is not finite is named", "[GN-09]") {
  const TemporaryDirectory directory;
  const auto put = [&](const std::vector<double>& values, Dtype dtype) {
    std::filesystem::remove(directory / "model.safetensors");
    write_checkpoint_file(directory / "model.safetensors",
                          {{"x", dtype, {elements}, bytes_of(values, dtype)}});
  };
  std::vector<double> values = random_values();
  const std::string where = (directory / "model.safetensors").string() + ": x holds ";
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const LoadOptions finite{.require_finite = true};
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
    values[190'000] = infinity, values[70'001] = -infinity;  // found by other tasks, perhaps earlier
    put(values, dtype);
    const CheckpointFiles files(directory.path());
    for (const std::string& said :
         {message_of([&] { read<float>(files, finite); }), message_of([&] { read<double>(files, finite); }),
          message_of([&] { read<bfloat16>(files, finite); })})
      CHECK(said == where + "-inf (element 70001 of 196613); every weight must be finite");
    CHECK(std::isinf(read<float>(files)[70'001]));
    values[70'001] = std::nan("");
    put(values, dtype);
    CHECK_THAT(message_of([&] { read<float>(CheckpointFiles(directory.path()), finite); }),
               Contains(where + "nan"));
  }
  values[190'000] = 0, values[70'001] = 3.4e38;  // finite as float, but not to the nearest bfloat16
  put(values, Dtype::f32);
  const CheckpointFiles files(directory.path());
  CHECK(read<float>(files, finite)[70'001] == 3.4e38f);
  CHECK_THAT(message_of([&] { read<bfloat16>(files, finite); }), Contains(where + "inf (element 70001"));
}

TEST_CASE("weight reader: the progress ends with all bytes, and a tensor of another size is refused") {
  const TemporaryDirectory directory;
  Cpu<float> device(2);
  LanguageModel<SmallHive, Cpu<float>> model(device);
  randomise(model);
  save(model, directory / "model", {.dtype = Dtype::bf16, .shard_bytes = 2000});
  std::vector<std::uint64_t> seen;
  std::uint64_t whole = 0;
  load<SmallHive>(directory / "model", device, {.progress = [&](std::uint64_t done, std::uint64_t all) {
                    seen.push_back(done);
                    whole = all;
                  }});
  Index parameters = 0, tensors = 0;
  model.visit([&](const Path&, const auto& parameter) { parameters += parameter.shape.size(), ++tensors; });
  CHECK(whole == 2 * static_cast<std::uint64_t>(parameters));
  CHECK(seen.size() == static_cast<std::size_t>(tensors));
  CHECK(seen.back() == whole);
  CHECK(std::is_sorted(seen.begin(), seen.end()));

  const CheckpointFiles files(directory / "model");
  std::vector<float> few(3);
  CHECK_THAT(
      message_of([&] {
        WeightReader(device, files, {}).read("model.norm.weight", View<float, 1>(few.data(), Shape<1>{{3}}));
      }),
      Contains("\"model.norm.weight\": expected 3 weights of BF16, found 24 bytes"));
}

TEST_CASE("load: what trains stays wide where the rest is kept as bfloat16") {
  const TemporaryDirectory directory;
  Cpu<double> device(2);
  LanguageModel<SmallHive, Cpu<double>> model(device);
  randomise(model);
  model.expansions = {{Policy::midus, {"model.memory_blocks.0.", "model.memory_blocks.1."}, 3, {0, 2}, 1}};
  save(model, directory / "model");
  auto expected = load<SmallHive>(directory / "model", device);
  expected.train(inserted);
  expected.store_as_bfloat16();
  auto loaded = load<SmallHive>(directory / "model", device, {.store_bfloat16 = true, .train = {inserted}});
  std::vector<double> values, expected_values;
  loaded.visit([&](const Path& path, const auto& parameter) {
    INFO(path.str());
    const bool trains = path.str().starts_with("model.memory_blocks.");
    CHECK(parameter.frozen() != trains);
    CHECK(parameter.value.is_bfloat16() != trains);
    for (Index i = 0; i < parameter.shape.size(); ++i) values.push_back(parameter.value.at(i));
  });
  expected.visit([&](const Path&, const auto& parameter) {
    for (Index i = 0; i < parameter.shape.size(); ++i) expected_values.push_back(parameter.value.at(i));
  });
  CHECK((values == expected_values));
  const Tokens tokens(2, 9, SmallHive::vocab_size);
  CHECK(loaded.loss_and_gradients(tokens.batch(), 1).sum ==
        expected.loss_and_gradients(tokens.batch(), 1).sum);
  CHECK(gradients_of(loaded) == gradients_of(expected));
  CHECK_THAT(message_of([&] { load<SmallHive>(directory / "model", device, {.train = {"nothing.*"}}); }),
             Contains("no parameter has the form \"nothing.*\""));
}

#if !MIDUS_SANITIZED
TEST_CASE("load: beside the model there is one tensor in memory, mapped files included") {
  using Large = Llama<Vocab<49152>, Width<128>, Layers<2>, Attention<2>, SwiGlu<8192>>;
  const TemporaryDirectory directory;
  const LlamaConfig config = shape_of<Large>();
  constexpr std::size_t largest = 49152 * 128, slack = std::size_t{8} << 20;
  const auto parameters = static_cast<std::size_t>(parameter_count(config));
  REQUIRE(parameters > 3 * largest);
  for (const Dtype dtype : {Dtype::bf16, Dtype::f32}) {
    const std::filesystem::path model = directory / std::string(to_string(dtype));
    std::filesystem::create_directory(model);
    write_llama_config(config, model);
    std::vector<TensorInfo> tensors;
    for (const ParameterShape& parameter : parameter_shapes(config))
      tensors.push_back({parameter.name, dtype, parameter.shape});
    CheckpointWriter writer(model, tensors);
    for (const TensorInfo& tensor : tensors)
      writer.write(tensor.name,
                   std::vector<std::byte>(tensor_bytes(tensor.name, dtype, tensor.shape), std::byte{0x3c}));
    writer.commit();
    const auto peak = [&](auto scalar, bool store_bfloat16) {
      return peak_memory_of([&] {
        Cpu<decltype(scalar)> device(2);
        const auto loaded =
            load<Large>(model, device, {.store_bfloat16 = store_bfloat16, .require_finite = true});
      });
    };
    INFO(to_string(dtype));
    const std::size_t wide = peak(float{}, false);
    CHECK(wide > 4 * parameters - slack);  // it measures
    CHECK(wide < 4 * (parameters + largest) + slack);
    CHECK(peak(double{}, false) < 8 * (parameters + largest) + slack);
    const std::size_t narrow = peak(float{}, true);
    CHECK(narrow > 2 * parameters - slack);
    CHECK(narrow < 2 * parameters + 4 * largest + slack);
  }
}
#endif
