#include "midus/model/sampling.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN(),
                 infinity = std::numeric_limits<double>::infinity();

template <class S>
View<const S, 1> view(const std::vector<S>& logits) {
  return {logits.data(), Shape<1>{{static_cast<Index>(logits.size())}}};
}

/// Logits that have these probabilities at temperature 1.
template <class S>
std::vector<S> logits_of(const std::vector<double>& probabilities) {
  std::vector<S> logits;
  for (const double p : probabilities) logits.push_back(static_cast<S>(std::log(p)));
  return logits;
}

template <class S>
std::vector<std::int32_t> ids(const std::vector<S>& logits, const SamplingOptions& options) {
  Sampler sampler(options);
  std::vector<std::int32_t> out;
  for (const Candidate& candidate : sampler.candidates(view(logits))) out.push_back(candidate.id);
  return out;
}

using Ids = std::vector<std::int32_t>;

}  // namespace

TEMPLATE_TEST_CASE("sampling: the smallest set that reaches top-p", "[GN-01]", float, double) {
  const auto logits = logits_of<TestType>({0.3, 0.1, 0.1, 0.5});
  CHECK(ids(logits, {.top_p = 0.8}) == Ids{3, 0});
  CHECK(ids(logits, {.top_p = 0.7}) == Ids{3, 0});
  CHECK(ids(logits, {.top_p = 0.5}) == Ids{3});
  CHECK(ids(logits, {.top_p = 0.51}) == Ids{3, 0});
  CHECK(ids(logits, {.top_p = 0.9}) == Ids{3, 0, 1});  // of equals the lower id
  CHECK(ids(logits, {.top_p = 1}) == Ids{3, 0, 1, 2});
  CHECK(ids(logits, {.top_p = 1e-45}) == Ids{3});  // at least one
  CHECK(ids(logits, {.top_p = 0}) == Ids{3});
  CHECK(ids(logits, {.top_p = -0.0}) == Ids{3});
}

TEST_CASE("sampling: top-k first, then top-p of what is left") {
  const auto logits = logits_of<double>({0.3, 0.1, 0.1, 0.5});
  CHECK(ids(logits, {.top_k = 3}) == Ids{3, 0, 1});
  CHECK(ids(logits, {.top_k = 1}) == Ids{3});
  CHECK(ids(logits, {.top_k = 100}) == Ids{3, 0, 1, 2});
  CHECK(ids(logits, {.top_k = 2, .top_p = 0.62}) == Ids{3});  // 0.5 of 0.8
  CHECK(ids(logits, {.top_k = 2, .top_p = 0.63}) == Ids{3, 0});
  Sampler sampler({.top_k = 2});
  const auto& kept = sampler.candidates(view(logits));
  CHECK(kept[0].probability == Approx(0.625));
  CHECK(kept[1].probability == Approx(0.375));
}

TEST_CASE("sampling: numbers without a meaning are refused by name", "[GN-03]") {
  const auto error = [](const SamplingOptions& options) { return message_of([&] { Sampler{options}; }); };
  for (const double bad : {not_a_number, infinity, -infinity, -1.0, -1e-45}) {
    INFO(bad);
    CHECK_THAT(error({.temperature = bad}), Catch::StartsWith("temperature must be a finite number"));
    CHECK_THAT(error({.top_p = bad}), Catch::StartsWith("top-p must be a number from 0 to 1"));
  }
  CHECK_THAT(error({.top_p = 1.0000001}), Catch::StartsWith("top-p"));
  CHECK(error({.top_k = -1}) == "top-k must be at least 0 (0: all tokens), found -1");
  for (const double good : {-0.0, 0.0, 1e-45, 5e-324, 1e300}) {
    INFO(good);
    CHECK(error({.temperature = good}) == "nothing was thrown");
  }
}

TEST_CASE("sampling: temperature 0 is greedy, and the lower id wins", "[GN-05]") {
  const std::vector<float> logits{1, 7, 7.5f, -3, 7.5f, 0};
  for (const std::uint64_t seed : {1u, 2u, 3u})
    for (const double temperature : {0.0, -0.0})
      for (const Index k : {0, 2, 50}) {
        Sampler sampler({.temperature = temperature, .top_k = k}, seed);
        for (int i = 0; i < 20; ++i) CHECK(sampler(view(logits)) == 2);
      }
  // Small temperatures overflow nothing, and come to the same where there is one maximum.
  const std::vector<float> one{-1e30f, 3e38f, 2.9e38f, 0};
  for (const double temperature : {1e-6, 1e-45, 5e-324})
    for (int i = 0; i < 20; ++i) CHECK(Sampler({.temperature = temperature})(view(one)) == 1);
}

TEST_CASE("sampling: logits that are not finite are an error, unless they rule a token out", "[GN-09]") {
  const auto error = [](const std::vector<float>& logits, double temperature) {
    return message_of([&] { Sampler({.temperature = temperature})(view(logits)); });
  };
  const auto poison = static_cast<float>(not_a_number), top = static_cast<float>(infinity);
  for (const double temperature : {0.0, 1.0}) {
    CHECK_THAT(error({1, poison, 2}, temperature), Catch::StartsWith("the logit of token 1 is nan"));
    CHECK_THAT(error({poison, 1}, temperature), Catch::StartsWith("the logit of token 0 is nan"));
    CHECK_THAT(error({1, 2, top}, temperature), Catch::StartsWith("the logit of token 2 is inf"));
    CHECK_THAT(error({-top, -top}, temperature), Catch::StartsWith("all 2 logits are minus infinity"));
    for (int i = 0; i < 20; ++i)
      CHECK(Sampler({.temperature = temperature})(view<float>({-top, 3, -top})) == 1);
  }
}

TEST_CASE("sampling: tokens far less probable than the first, and tokens that occurred") {
  const std::vector<double> logits{std::log(0.5), std::log(0.3), std::log(0.15), std::log(0.05)};
  const View<const double, 1> view(logits.data(), Shape{Index{4}});
  Sampler most({.min_p = 0.25});
  REQUIRE(most.candidates(view).size() == 3);  // 0.15 is at least 0.25 · 0.5, 0.05 is not
  CHECK(most.candidates(view)[2].probability == Approx(0.15 / 0.95));
  CHECK(Sampler({.min_p = 1}).candidates(view).size() == 1);

  const std::vector<double> scores{2, -1, 1, 3};
  const View<const double, 1> mixed(scores.data(), Shape{Index{4}});
  const std::vector<std::int32_t> context{3, 1, 3};
  Sampler penalised({.top_k = 0, .repetition_penalty = 2});
  // 2, -2, 1, 1.5: each once, however often it occurred.
  const std::vector<Candidate> found = penalised.candidates(mixed, context);
  CHECK(found[0].id == 0);
  CHECK(found[1].id == 3);
  CHECK(found[1].probability / found[0].probability == Approx(std::exp(-0.5)));
  CHECK(found[3].id == 1);
  CHECK(found[3].probability / found[0].probability == Approx(std::exp(-4)));
  CHECK(Sampler({.temperature = 0, .repetition_penalty = 2})(mixed, context) == 0);
  CHECK_THROWS_WITH(Sampler({.min_p = -0.1}), Catch::Contains("min-p"));
  for (const double bad : {0.0, -1.0, 1e-310, 1e300, std::nan("")})
    CHECK_THROWS_WITH(Sampler({.repetition_penalty = bad}), Catch::Contains("repetition-penalty"));
  for (const double extreme : {1e-200, 1e200})
    CHECK_NOTHROW(Sampler({.repetition_penalty = extreme})(mixed, context));
}

TEST_CASE("sampling: tokens come as often as their probability says, the same for the same seed") {
  const std::vector<double> probabilities{0.3, 0.1, 0.05, 0.55};
  const auto logits = logits_of<double>(probabilities);
  constexpr int draws = 20000;
  std::vector<int> counts(4);
  Sampler one({}, 7), again({}, 7), other({}, 8);
  int same = 0;
  for (int i = 0; i < draws; ++i) {
    const std::int32_t id = one(view(logits));
    CHECK(again(view(logits)) == id);
    same += other(view(logits)) == id;
    ++counts[static_cast<std::size_t>(id)];
  }
  CHECK(same < draws * 6 / 10);  // two independent draws agree with probability 0.405
  for (std::size_t i = 0; i < 4; ++i) {
    const double p = probabilities[i], deviation = std::sqrt(draws * p * (1 - p));
    CHECK(std::abs(counts[i] - draws * p) < 5 * deviation);
  }
  // Temperature 2: the square roots.
  Sampler warm({.temperature = 2});
  const auto& candidates = warm.candidates(view(logits));
  double sum = 0;
  for (const double p : probabilities) sum += std::sqrt(p);
  CHECK(candidates[0].id == 3);
  CHECK(candidates[0].probability == Approx(std::sqrt(0.55) / sum));
}

TEST_CASE("a token of the context that the logits do not have is an error") {
  const std::vector<double> logits{1, 2, 3};
  const View<const double, 1> view(logits.data(), Shape{Index{3}});
  for (const std::int32_t id : {3, 1000, -1, std::numeric_limits<std::int32_t>::min()}) {
    Sampler sampler({.repetition_penalty = 1.2});
    CHECK_THROWS_AS(sampler.candidates(view, std::vector<std::int32_t>{0, id}), Error);
    CHECK_THROWS_WITH(sampler(view, std::vector<std::int32_t>{id}), Catch::Contains("the vocabulary has 3"));
  }
}
