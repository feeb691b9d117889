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

TEST_CASE("every token's reads are counted once, and padding is none", "[PK-06]") {
  TemporaryDirectory directory;
  Cpu<float> device(2);
  LanguageModel<SmallHive, Cpu<float>> model(device);
  randomise(model);
  const EvaluationBatches batches(small_file(directory / "data.bin", 101), 7);
  const auto use = slot_use(model, batches, 4), again = slot_use(model, batches, 1);
  REQUIRE(use.size() == 2);
  for (std::size_t block = 0; block < 2; ++block) {
    REQUIRE(use[block].heads.size() == 6);
    REQUIRE(use[block].read_ratio_of_heads.size() == 6);
    CHECK(use[block].read_ratio.value() == Approx(again[block].read_ratio.value()));
    for (std::size_t head = 0; head < 6; ++head) {
      const HeadSlotUse &one = use[block].heads[head], &other = again[block].heads[head];
      CHECK(one.reads() == 100 * 3);
      CHECK(one.used_share() >= 3.0 / 25);
      CHECK(one.used_share() == other.used_share());
      CHECK(one.kl_to_uniform() == Approx(other.kl_to_uniform()));
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
  CHECK(third[1].heads[5].reads() == use[1].heads[5].reads());
  CHECK(third[1].heads[5].kl_to_uniform() == use[1].heads[5].kl_to_uniform());
}

TEST_CASE("the ratio of reads to the stream: what the block's output says, and 0 where values are 0") {
  TemporaryDirectory directory;
  Cpu<double> device(2);
  LanguageModel<SmallHive, Cpu<double>> model(device);
  randomise(model);
  const EvaluationBatches batches(small_file(directory / "data.bin", 101), 7);
  const auto before = slot_use(model, batches);
  double all = 0;
  for (const ReadRatio& head : before[0].read_ratio_of_heads) all = std::max(all, head.value());
  CHECK(before[0].read_ratio.value() > 0);
  CHECK(before[0].read_ratio.value() < all);  // heads of different size: a mean lies below the largest
  const auto scale = [&](const char* pattern, double factor) {
    model.visit([&](const Path& path, auto& parameter) {
      const auto values = parameter.master.flat();
      if (matches(pattern, path.str()))
        for (Index i = 0; i < values.size(); ++i) values(i) *= factor;
    });
  };
  // Block 0 reads the embeddings through a norm: values twice as large, reads twice as large; a stream twice
  // as large, half the ratio.
  scale("model.memory_blocks.0.memory.values", 2);
  const auto doubled = slot_use(model, batches);
  for (std::size_t head = 0; head < 6; ++head)
    CHECK(doubled[0].read_ratio_of_heads[head].value() ==
          Approx(2 * before[0].read_ratio_of_heads[head].value()));
  CHECK(doubled[0].read_ratio.value() == Approx(2 * before[0].read_ratio.value()));
  scale("model.embed_tokens.weight", 2);
  CHECK(slot_use(model, batches)[0].read_ratio.value() == Approx(before[0].read_ratio.value()).epsilon(1e-3));
  scale("model.memory_blocks.1.memory.values", 0);
  const auto zero = slot_use(model, batches);
  CHECK(zero[1].read_ratio.value() == 0);
  for (const ReadRatio& head : zero[1].read_ratio_of_heads) CHECK(head.value() == 0);
}

TEST_CASE("what a memory writes is what its block's output has more than its input") {
  TemporaryDirectory directory;
  Cpu<double> device(2);
  const auto check = [&](auto& model) {
    randomise(model);
    model.visit([&](const Path& path, auto& parameter) {  // layers that change nothing
      if (matches("model.layers.*.o_proj.weight", path.str()) ||
          matches("model.layers.*.down_proj.weight", path.str()))
        device.fill(parameter.master.flat(), 0.0);
    });
    const Tokens tokens(2, 5, 17);
    std::vector<double> x[2], written[2];
    model.memory_reads({tokens.ids.data(), tokens.shape},
                       [&](std::size_t block, const auto&, auto in, auto out) {
                         x[block].assign(in.data(), in.data() + in.size());
                         written[block].assign(out.data(), out.data() + out.size());
                       });
    REQUIRE(x[0].size() == 2 * 5 * 12);
    for (std::size_t i = 0; i < x[0].size(); ++i) {
      CHECK(written[0][i] != 0);
      CHECK(x[1][i] - x[0][i] == Approx(written[0][i]).margin(1e-12));
    }
  };
  LanguageModel<SmallHive, Cpu<double>> hive(device);
  check(hive);
  using TwoPkm = Upscaled<SmallBase, MemoryBlock<ProductKeyMemory<2, 4, 2, 6>>, BeforeLayers<0, 2>>;
  LanguageModel<TwoPkm, Cpu<double>> pkm(device);
  check(pkm);
  const auto use = slot_use(pkm, EvaluationBatches(small_file(directory / "data.bin", 50), 7));
  CHECK(use[1].heads.size() == 2);
  CHECK(use[1].read_ratio_of_heads.empty());  // they have no slices of their own
  CHECK(use[1].read_ratio.value() > 0);
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
  for (const BlockSlotUse& block : slot_use(model, batches))
    for (const HeadSlotUse& head : block.heads) {
      CHECK(head.used_share() == 3.0 / 25);
      CHECK(head.kl_to_uniform() == Approx(std::log(25.0 / 3)));
    }
}
