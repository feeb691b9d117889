#include "midus/model/generate.hpp"

#include <chrono>
#include <limits>

#include "support/catch.hpp"
#include "support/small_models.hpp"

namespace midus {
namespace {

using namespace midus::test;
using Texts = std::vector<std::vector<std::int32_t>>;

/// Memory blocks before the first and the last layer; 6 heads share 2 key/value heads of width 20.
using Case = Upscaled<Llama<Vocab<23>, Width<120>, Layers<2>, Attention<6, KvHeads<2>>, SwiGlu<30>>,
                      MemoryBlock<HeadwiseMemory<6, 9, 4, FactorizedValue<5>>>, BeforeLayers<0, 1>>;

template <class Config, class S = double>
struct Fixture {
  explicit Fixture(Index positions = 2048) : model(device, settings(positions)) { randomise(model); }
  static ModelSettings settings(Index positions) {
    ModelSettings settings{.max_position_embeddings = positions};
    settings.rope.llama3 = Llama3Scaling{.factor = 4, .original_max_position_embeddings = 16};
    return settings;
  }
  static std::vector<std::int32_t> text(Index length, std::uint64_t seed = 1) {
    return Tokens(1, length, Config::vocab_size, seed).ids;
  }
  static Texts prompts(const std::vector<Index>& lengths) {
    Texts all;
    for (const Index length : lengths) all.push_back(text(length, all.size() + 7));
    return all;
  }
  /// What generation gives each prompt alone.
  Texts alone(const Texts& prompts, const GenerateOptions& options) {
    Texts all;
    for (const auto& prompt : prompts) all.push_back(generate(model, {prompt}, options).ids.at(0));
    return all;
  }

  Cpu<S> device{2};
  LanguageModel<Config, Cpu<S>> model;
};

const SamplingOptions greedy{.temperature = 0};

View<const std::int32_t, 2> batch_of(const std::vector<std::int32_t>& ids, Index batch) {
  return {ids.data(), Shape{batch, static_cast<Index>(ids.size()) / batch}};
}

TEMPLATE_TEST_CASE("generate: prefill and decoding have the full forward's logits at any split", "[GN-07]",
                   SmallBase, SmallHive, SmallDense, SmallPkm, Case) {
  Fixture<TestType> f;
  const Index length = 33, vocab = TestType::vocab_size;
  const auto ids = f.text(length);
  const auto scope = f.device.scope();
  const auto full = f.model.logits(batch_of(ids, 1));
  for (Index prefill = 1; prefill <= length; ++prefill)
    for (const bool token_by_token : {false, true}) {
      auto cache = f.model.make_cache(1, length);
      for (Index at = 0; at < length;) {
        const auto inner = f.device.scope();
        const Index count = at == 0 ? prefill : token_by_token ? 1 : length - at;
        const auto logits = f.model.infer({ids.data() + at, Shape{Index{1}, count}}, cache);
        at += count;
        INFO("a prefill of " << prefill << ", position " << at - 1);
        for (Index v = 0; v < vocab; ++v)
          CHECK(logits(0, v) == Approx(full(at - 1, v)).epsilon(0).margin(1e-11));  // seen: 9e-13
      }
      CHECK(cache.used() == std::vector{static_cast<std::int32_t>(length)});
    }
}

TEMPLATE_TEST_CASE("generate: sequences of unequal lengths in one cache have their own logits", "[GN-07]",
                   float, double) {
  using S = TestType;
  Fixture<Case, S> f;
  f.model.visit([](const Path&, auto& parameter) {  // scores of about 1, as trained models have them
    const auto values = parameter.master.flat();
    if (std::remove_reference_t<decltype(parameter)>::rank > 1)
      for (Index i = 0; i < values.size(); ++i) values(i) /= 4;
  });
  const std::vector<Index> lengths{1, 7, 33};
  constexpr Index more = 5, capacity = 33 + more;
  Texts texts;
  for (const Index length : lengths) texts.push_back(f.text(length + more, texts.size() + 1));
  const auto scope = f.device.scope();
  auto cache = f.model.make_cache(3, capacity);
  const auto check = [&](Index sequence, Index position, const S* logits) {
    const auto inner = f.device.scope();
    const auto full = f.model.logits(batch_of(texts[static_cast<std::size_t>(sequence)], 1));
    double largest = 0;
    for (Index v = 0; v < Case::vocab_size; ++v)
      largest = std::max(largest, std::fabs(static_cast<double>(full(position, v))));
    INFO("sequence " << sequence << ", position " << position);
    for (Index v = 0; v < Case::vocab_size; ++v)
      CHECK(static_cast<double>(logits[v]) == Approx(static_cast<double>(full(position, v)))
                                                  .epsilon(0)
                                                  .margin(sizeof(S) == 4 ? 1e-5 * largest : 1e-12));
  };
  for (Index b = 0; b < 3; ++b) {
    const auto inner = f.device.scope();
    const Index length = lengths[static_cast<std::size_t>(b)];
    const auto logits =
        f.model.infer({texts[static_cast<std::size_t>(b)].data(), Shape{Index{1}, length}}, cache, b);
    check(b, length - 1, logits.data());
  }
  for (Index step = 0; step < more; ++step) {
    const auto inner = f.device.scope();
    std::vector<std::int32_t> next;
    for (std::size_t b = 0; b < 3; ++b) next.push_back(texts[b][static_cast<std::size_t>(lengths[b] + step)]);
    const auto logits = f.model.infer(batch_of(next, 3), cache);
    for (Index b = 0; b < 3; ++b) check(b, lengths[static_cast<std::size_t>(b)] + step, logits.row(b));
  }
  const std::vector<std::int32_t> one{0}, four{0, 0, 0, 0};
  CHECK(cache.used() == std::vector<std::int32_t>{6, 12, 38});
  CHECK_THROWS_WITH(f.model.infer(batch_of(one, 1), cache, 2), Catch::Contains("38 + 1 tokens"));
  CHECK_THROWS_WITH(f.model.infer(batch_of(one, 1), cache, 3), Catch::Contains("sequences 3 ... 3"));
  CHECK_THROWS_WITH(f.model.infer(batch_of(one, 1), cache, -1), Catch::Contains("do not fit"));
  CHECK_THROWS_WITH(f.model.infer(batch_of(four, 4), cache), Catch::Contains("a cache of 3"));
  CHECK(cache.used() == std::vector<std::int32_t>{6, 12, 38});
}

// More prompts than are multiplied as few rows, so that those that end change the way of the others.
TEMPLATE_TEST_CASE("generate: each of several prompts gets what it gets alone", "[GN-07]", SmallBase,
                   SmallHive, SmallDense, SmallPkm) {
  Fixture<TestType> f(30);
  const Texts prompts = f.prompts({7, 1, 12, 3, 28, 30, 1, 19, 5, 26, 9});
  for (const SamplingOptions& sampling :
       {greedy, SamplingOptions{.temperature = 0.9, .top_k = 7, .repetition_penalty = 1.3}}) {
    const GenerateOptions options{.max_tokens = 15, .sampling = sampling, .seed = 5};
    Texts said(prompts.size());
    const auto begin = std::chrono::steady_clock::now();
    const Generated all =
        generate(f.model, prompts, options, [&](std::size_t i, std::int32_t id) { said[i].push_back(id); });
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    CHECK(all.ids == f.alone(prompts, options));
    CHECK(said == all.ids);
    // All tokens over the whole time are at most the rate: the parts take no longer than the whole.
    Index read = 0, added = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      if (all.ids[i].empty()) continue;  // no position is left
      read += static_cast<Index>(prompts[i].size());
      added += static_cast<Index>(all.ids[i].size()) - 1;  // the first comes with the prompt
    }
    CHECK(all.prompt_tokens_per_s >= static_cast<double>(read) / time.count());
    CHECK(all.tokens_per_s >= static_cast<double>(added) / time.count());
  }
}

TEST_CASE("generate: greedy is the largest logit of the full forward, each time") {
  Fixture<SmallHive> f;
  std::vector<std::int32_t> text = f.text(4), expected;
  const Texts prompts{text};
  for (int i = 0; i < 10; ++i) {
    const auto scope = f.device.scope();
    const auto logits = f.model.logits(batch_of(text, 1));
    const double* const row = logits.row(logits.extent(0) - 1);
    expected.push_back(static_cast<std::int32_t>(std::max_element(row, row + SmallHive::vocab_size) - row));
    text.push_back(expected.back());
  }
  CHECK(generate(f.model, prompts, {.max_tokens = 10, .sampling = greedy}).ids == Texts{expected});
}

TEST_CASE("generate: a stop token ends its own text and is no part of it") {
  Fixture<SmallHive> f;
  const Texts prompts = f.prompts({4, 9, 2, 6});
  GenerateOptions options{.max_tokens = 40, .sampling = {.temperature = 1.5}, .seed = 3};
  Texts expected = generate(f.model, prompts, options).ids;
  options.stop = {expected[1][5], expected[2][0], 1000};  // in the middle, and as the first token
  for (auto& text : expected) text.erase(std::ranges::find_first_of(text, options.stop), text.end());
  CHECK(expected[2].empty());
  CHECK(generate(f.model, prompts, options).ids == expected);
  CHECK(f.alone(prompts, options) == expected);
}

TEST_CASE("generate: texts end where the positions do, or after max_tokens") {
  Fixture<SmallHive> f(16);
  const Texts prompts = f.prompts({16, 15, 3});
  const auto sizes = [&](Index max_tokens) {
    std::vector<std::size_t> all;
    for (const auto& text : generate(f.model, prompts, {.max_tokens = max_tokens}).ids)
      all.push_back(text.size());
    return all;
  };
  CHECK(sizes(std::numeric_limits<Index>::max()) == std::vector<std::size_t>{0, 1, 13});
  CHECK(sizes(5) == std::vector<std::size_t>{0, 1, 5});
  CHECK(sizes(0) == std::vector<std::size_t>{0, 0, 0});
  CHECK(generate(f.model, Texts{}).ids.empty());
}

TEST_CASE("generate: what cannot be continued is refused", "[GN-03]") {
  Fixture<SmallTied> f(16);
  CHECK_THROWS_WITH(generate(f.model, Texts{{}}), Catch::Contains("the prompt is empty"));
  CHECK_THROWS_WITH(generate(f.model, Texts{{1}, {}}), Catch::Contains("prompt 2 is empty"));
  CHECK_THROWS_WITH(generate(f.model, f.prompts({3, 17})),
                    Catch::Contains("prompt 2 has 17 tokens; the model knows 16 positions"));
  CHECK_THROWS_WITH(generate(f.model, Texts{{SmallTied::vocab_size}}), Catch::Contains("token id 17"));
  CHECK_THROWS_WITH(generate(f.model, Texts{{1}}, {.max_tokens = -1}),
                    Catch::Contains("max-tokens must be at least 0, found -1"));
  CHECK_THROWS_WITH(generate(f.model, Texts{{1}}, {.sampling = {.temperature = -1}}),
                    Catch::Contains("temperature"));
}

TEST_CASE("generate: the weights stay, and one that is not finite gives an error instead of text",
          "[GN-09]") {
  Fixture<SmallHive> f;
  const auto weights = [&] {
    std::vector<double> all;
    f.model.visit([&](const Path&, const auto& parameter) {
      for (Index i = 0; i < parameter.shape.size(); ++i) all.push_back(parameter.value.at(i));
    });
    return all;
  };
  const auto before = weights();
  generate(f.model, f.prompts({3, 8}), {.max_tokens = 20});
  CHECK(weights() == before);
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    for (const SamplingOptions& sampling : {greedy, SamplingOptions{}}) {
      f.model.visit([&](const Path& path, auto& parameter) {
        if (path.str() == "model.norm.weight") parameter.master.data()[0] = bad;
      });
      CHECK_THROWS_WITH(generate(f.model, f.prompts({3, 8}), {.sampling = sampling}),
                        Catch::Contains("not finite"));
    }
}

}  // namespace
}  // namespace midus
