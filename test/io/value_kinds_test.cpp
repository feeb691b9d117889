// Value policies are known by their names: on disk, and where no type says which one it is.
#include "midus/layers/value_kinds.hpp"

#include "midus/hf.hpp"
#include "midus/midus.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/own_values.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

template <class Value>
using Shallow = Upscaled<SmallTied, MemoryBlock<HeadwiseMemory<2, 4, 2, Value>>, BeforeLayers<1>>;

/// A policy with the name of another that has other tensors.
struct Impostor {
  static constexpr std::string_view name = "banked";
  static constexpr int rank = 0;
  static constexpr auto tensors(const ValueSizes& m) { return DenseValue::tensors(m); }
};

/// Its tensors depend on its own type, and so cannot be known to readers of files.
template <int Rank>
struct Forgetful {
  static constexpr std::string_view name = "forgetful";
  static constexpr int rank = Rank;
  static constexpr std::array<TensorSpec, 1> tensors(const ValueSizes& m) {
    return {TensorSpec{"bank", {m.slots, Rank}, Role::table, Start::zero()}};
  }
};

/// A saved model of that policy, and its loss on some tokens.
template <class Value>
double saved(const std::filesystem::path& directory, Cpu<float>& device, const Tokens& tokens) {
  LanguageModel<Shallow<Value>, Cpu<float>> model(device);
  randomise(model);
  save(model, directory);
  return model.loss(tokens.batch()).sum;
}

}  // namespace

TEST_CASE("value policies: a saved model is that of its policy, and of no other with the same tensors") {
  const TemporaryDirectory directory;
  Cpu<float> device(1);
  const Tokens tokens(2, 5, SmallTied::vocab_size);
  const double halved = saved<HalvedValue>(directory / "halved", device, tokens),
               dense = saved<DenseValue>(directory / "dense", device, tokens);
  REQUIRE(halved != dense);
  CHECK(load<Shallow<HalvedValue>>(directory / "halved", device).loss(tokens.batch()).sum == halved);
  CHECK(load<Shallow<DenseValue>>(directory / "dense", device).loss(tokens.batch()).sum == dense);
  CHECK_THAT(message_of([&] { load<Shallow<DenseValue>>(directory / "halved", device); }),
             Contains("midus.values is halved, the program's is dense"));
  CHECK_THAT(message_of([&] { load<Shallow<HalvedValue>>(directory / "dense", device); }),
             Contains("midus.values is dense, the program's is halved"));
}

TEST_CASE("value policies: one of a user's own has its tensors on disk under their names") {
  const TemporaryDirectory directory;
  Cpu<float> device(1);
  const Tokens tokens(2, 5, SmallTied::vocab_size);
  const double loss = saved<BankValue<3>>(directory / "banked", device, tokens);
  const LlamaConfig config = read_llama_config(directory / "banked");
  CHECK(config.memory->value_policy == "banked");
  CHECK(config.memory->value_rank == 3);
  CHECK(load<Shallow<BankValue<3>>>(directory / "banked", device).loss(tokens.batch()).sum == loss);
  std::vector<std::string> names;
  for (const ParameterShape& parameter : parameter_shapes(config)) names.push_back(parameter.name);
  CHECK(std::count(names.begin(), names.end(), "model.memory_blocks.0.memory.expansion") == 1);
}

TEST_CASE("value policies: what a model's type says of its tensors is what its files' reader says") {
  Cpu<float> device(1);
  const auto check = [&]<class Config>(Config) {
    LanguageModel<Config, Cpu<float>> model(device);
    const std::vector<ParameterShape> expected = parameter_shapes(shape_of<Config>());
    std::size_t count = 0;
    model.visit([&](const Path& path, const auto& parameter) {
      const auto& extents = parameter.shape.extents;
      const auto found = std::find_if(expected.begin(), expected.end(),
                                      [&](const auto& other) { return other.name == path.str(); });
      INFO(path.str());
      REQUIRE(found != expected.end());
      CHECK(found->shape == std::vector<Index>(std::begin(extents), std::end(extents)));
      CHECK(found->role == parameter.role);
      CHECK(found->start == parameter.start);
      ++count;
    });
    CHECK(count == expected.size());
  };
  check(SmallHive{});
  check(SmallPkm{});
  check(Shallow<BankValue<3>>{});
}

TEST_CASE("value policies: a name is of one policy") {
  CHECK(know_values<BankValue<1>>("own::BankValue"));
  CHECK(know_values<BankValue<7>>());
  CHECK(find_value_kind("banked")->type == "own::BankValue");
  CHECK(find_value_kind("nobody") == nullptr);
  CHECK_THAT(message_of([] { know_values<Impostor>(); }),
             Contains("two value policies are called \"banked\""));
  CHECK(know_values<Forgetful<1>>());
  CHECK_THAT(message_of([] { know_values<Forgetful<2>>(); }), Contains("depend on more than the sizes"));
}
