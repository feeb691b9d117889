#include "midus/train/head_ablation.hpp"

#include "midus/midus.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

EvaluationBatches small_batches(const std::filesystem::path& path, Index vocabulary) {
  TokenWriter writer(path, {.vocabulary = vocabulary});
  const Random random(3, "file");
  std::vector<std::int32_t> ids;
  for (Index i = 0; i < 101; ++i)
    ids.push_back(static_cast<std::int32_t>(random.below(i, static_cast<std::uint64_t>(vocabulary))));
  writer.append(ids);
  writer.commit();
  return EvaluationBatches(TokenFile(path), 7);
}

template <class Model>
std::vector<typename Model::Scalar> parameters_of(const Model& model) {
  std::vector<typename Model::Scalar> all;
  model.visit([&](const Path&, const auto& parameter) {
    for (Index i = 0; i < parameter.shape.size(); ++i) all.push_back(parameter.value.at(i));
  });
  return all;
}

/// Every element of a parameter whose first index is `first`.
template <class Model>
void zero_part(Model& model, const std::string& name, Index first) {
  Index found = 0;
  model.visit([&](const Path& path, auto& parameter) {
    if (path.str() != name) return;
    if constexpr (std::remove_reference_t<decltype(parameter)>::rank == 3)
      for (Index i = 0; i < parameter.shape[1]; ++i)
        for (Index j = 0; j < parameter.shape[2]; ++j, ++found) parameter.master(first, i, j) = 0;
  });
  REQUIRE(found > 0);
}

/// Each head's loss against that of a model in which the head's values were set to zero by hand.
template <class Config>
void check(const std::string& values) {
  TemporaryDirectory directory;
  Cpu<float> device(2);
  LanguageModel<Config, Cpu<float>> model(device);
  randomise(model);
  const auto before = parameters_of(model);
  const EvaluationBatches batches = small_batches(directory / "data.bin", Config::vocab_size);
  std::size_t calls = 0, of = 0;
  const HeadAblation ablation = head_ablation(model, batches, 4, [&](std::size_t done, std::size_t all) {
    CHECK(done == ++calls);
    of = all;
  });
  CHECK(calls == of);
  CHECK(ablation.all.sum == evaluate(model, batches, 4).sum);
  REQUIRE(ablation.without.size() == Config::Where::count);
  std::vector<double> increases;
  for (std::size_t block = 0; block < ablation.without.size(); ++block) {
    REQUIRE(ablation.without[block].size() == Config::Inserted::MemoryConfig::heads);
    for (std::size_t head = 0; head < ablation.without[block].size(); ++head) {
      LanguageModel<Config, Cpu<float>> other(device);
      randomise(other);
      zero_part(other, "model.memory_blocks." + std::to_string(block) + ".memory." + values,
                static_cast<Index>(head));
      const LossSum loss = evaluate(other, batches, 4);
      CHECK(ablation.without[block][head].sum == loss.sum);
      CHECK(ablation.without[block][head].count == 100);
      CHECK(ablation.increase(block, head) == loss.mean() - ablation.all.mean());
      increases.push_back(ablation.increase(block, head));
    }
  }
  for (std::size_t i = 0; i < increases.size(); ++i) {
    CHECK(increases[i] != 0);
    for (std::size_t j = 0; j < i; ++j) CHECK(increases[i] != increases[j]);
  }
  CHECK(parameters_of(model) == before);  // the model is what it was
}

}  // namespace

TEST_CASE("head ablation: the loss is that of a model whose head has no values") {
  check<SmallHive>("value_proj");
  check<SmallDense>("values");
}

TEST_CASE("head ablation: the head reads exactly 0, and no other head of the block anything else") {
  Cpu<float> device(2);
  LanguageModel<SmallHive, Cpu<float>> model(device);
  randomise(model);
  const Tokens tokens(2, 5, SmallHive::vocab_size);
  const auto written = [&](std::size_t wanted) {
    std::vector<float> out;
    model.memory_reads({tokens.ids.data(), tokens.shape}, [&](std::size_t block, const auto&, auto, auto m) {
      if (block == wanted) out.assign(m.data(), m.data() + m.size());
    });
    return out;
  };
  const std::vector<float> with = written(1);
  std::vector<float> without;
  {
    const WithoutHead ablated(model, 1, 4);
    without = written(1);
  }
  REQUIRE(with.size() == 2 * 5 * 12);
  for (std::size_t i = 0; i < with.size(); ++i)  // head 4 of 6 writes to columns 8 and 9 of 12
    CHECK(without[i] == (i % 12 / 2 == 4 ? 0.0f : with[i]));
  CHECK(written(1) == with);
}

TEST_CASE("head ablation: models whose heads cannot be taken away") {
  static_assert(HasHeadwiseMemory<SmallHive> && HasHeadwiseMemory<SmallDense>);
  static_assert(!HasHeadwiseMemory<SmallBase> && !HasHeadwiseMemory<SmallPkm>);
  Cpu<float> device(1);
  LanguageModel<SmallHive, Cpu<float>> model(device);
  CHECK_THAT(message_of([&] { WithoutHead ablated(model, 2, 0); }),
             Catch::Contains("no writable parameter model.memory_blocks.2.* that all reads of a head pass"));
  CHECK_THAT(message_of([&] { WithoutHead ablated(model, 0, 6); }),
             Catch::Contains("there is no head 6; a memory has 6"));
  model.store_as_bfloat16();
  CHECK_THAT(message_of([&] { WithoutHead ablated(model, 0, 0); }),
             Catch::Contains("no writable parameter model.memory_blocks.0.memory.value_proj"));
}
