#include "midus/train/slot_use.hpp"

#include "midus/midus.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

/// With `weighted`, the loss counts every third token only.
TokenFile small_file(const std::filesystem::path& path, Index tokens, bool weighted = false) {
  TokenWriter writer(path, {.vocabulary = SmallHive::vocab_size, .weighted = weighted});
  const Random random(3, "file");
  std::vector<std::int32_t> ids;
  for (Index i = 0; i < tokens; ++i)
    ids.push_back(static_cast<std::int32_t>(random.below(i, SmallHive::vocab_size)));
  std::vector<std::uint8_t> weights(ids.size());
  for (std::size_t i = 0; i < weights.size(); i += 3) weights[i] = 1;
  weighted ? writer.append(ids, weights) : writer.append(ids);
  writer.commit();
  return TokenFile(path);
}

}  // namespace

TEST_CASE("the use of slots has its known values at the ends") {
  HeadSlotUse unread(8), one(8), all(8), two(8);
  CHECK(unread.used_share() == 0);
  CHECK(unread.kl_to_uniform() == 0);
  one.add(3, 0.25);
  one.add(3, 0.75);
  CHECK(one.used_share() == 0.125);
  CHECK(one.kl_to_uniform() == Approx(std::log(8.0)));
  for (Index slot = 0; slot < 8; ++slot) all.add(slot, 0.125);
  CHECK(all.used_share() == 1);
  CHECK(all.kl_to_uniform() == Approx(0).margin(1e-15));
  two.add(1, 1);
  two.add(7, 1);
  two.add(1, 2);
  CHECK(two.used_share() == 0.25);
  CHECK(two.kl_to_uniform() == Approx(0.75 * std::log(6.0) + 0.25 * std::log(2.0)));
}

TEST_CASE("every token's reads are counted once, and padding is none") {
  TemporaryDirectory directory;
  Cpu<float> device(2);
  LanguageModel<SmallHive, Cpu<float>> model(device);
  randomise(model);
  const EvaluationBatches batches(small_file(directory / "data.bin", 101), 7);
  const auto use = slot_use(model, batches, 4), again = slot_use(model, batches, 1);
  REQUIRE(use.size() == 2);
  for (std::size_t block = 0; block < 2; ++block) {
    REQUIRE(use[block].size() == 6);
    for (std::size_t head = 0; head < 6; ++head) {
      CHECK(use[block][head].reads() == 100 * 3);
      CHECK(use[block][head].used_share() >= 3.0 / 25);
      CHECK(use[block][head].used_share() == again[block][head].used_share());
      CHECK(use[block][head].kl_to_uniform() == Approx(again[block][head].kl_to_uniform()));
    }
  }
}

TEST_CASE("the memory is read for tokens of loss weight 0 too") {
  TemporaryDirectory directory;
  Cpu<float> device(2);
  LanguageModel<SmallHive, Cpu<float>> model(device);
  randomise(model);
  const EvaluationBatches batches(small_file(directory / "each.bin", 101), 7),
      weighted(small_file(directory / "third.bin", 101, true), 7);
  const auto use = slot_use(model, batches), third = slot_use(model, weighted);
  CHECK(third[1][5].reads() == use[1][5].reads());
  CHECK(third[1][5].kl_to_uniform() == use[1][5].kl_to_uniform());
}

TEST_CASE("equal scores everywhere read the first slots with equal weights") {
  TemporaryDirectory directory;
  Cpu<float> device(2);
  LanguageModel<SmallHive, Cpu<float>> model(device);
  randomise(model);
  model.visit([&](const Path& path, auto& parameter) {
    if (matches("*_keys", path.str())) device.fill(parameter.master.flat(), 0.0f);
  });
  const EvaluationBatches batches(small_file(directory / "data.bin", 50), 7);
  for (const auto& block : slot_use(model, batches))
    for (const HeadSlotUse& head : block) {
      CHECK(head.used_share() == 3.0 / 25);
      CHECK(head.kl_to_uniform() == Approx(std::log(25.0 / 3)));
    }
}
