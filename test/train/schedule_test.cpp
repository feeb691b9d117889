#include "midus/train/schedule.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;

namespace {

std::vector<double> rates(const Schedule& schedule, Index steps, double peak = 1) {
  std::vector<double> all;
  for (Index step = 0; step < steps; ++step) all.push_back(schedule.rate(step, steps, peak));
  return all;
}

}  // namespace

TEST_CASE("Schedule: warm-up and cosine have the rates of the definition", "[TR-02]") {
  const Schedule schedule{.warmup = 5, .floor = 0.1};
  const auto all = rates(schedule, 20);
  for (int s = 0; s < 5; ++s) CHECK(all[static_cast<std::size_t>(s)] == Approx((s + 1) / 5.0).epsilon(1e-15));
  CHECK(all[4] == 1);
  CHECK(all[5] == 1);
  CHECK(all[6] == Approx(0.1 + 0.9 * (1 + std::cos(std::acos(-1.0) / 15)) / 2).epsilon(1e-15));
  CHECK(all[19] == Approx(0.1 + 0.9 * (1 + std::cos(std::acos(-1.0) * 14 / 15)) / 2).epsilon(1e-15));
  for (std::size_t s = 6; s < 20; ++s) CHECK(all[s] < all[s - 1]);
  for (const double rate : all) CHECK(rate > 0.1);
  CHECK(schedule.rate(20, 20, 1) == 0.1);
}

TEST_CASE("Schedule: warm-up, stable, decay", "[TR-02]") {
  const auto linear = rates({.decay = Decay::linear, .warmup = 2, .decay_steps = 4, .floor = 0}, 10, 2);
  CHECK(linear == std::vector<double>{1, 2, 2, 2, 2, 2, 2, 1.5, 1, 0.5});
  const auto root = rates({.decay = Decay::one_minus_sqrt, .warmup = 0, .decay_steps = 4, .floor = 0}, 6);
  CHECK(root[2] == 1);
  CHECK(root[3] == 0.5);
  CHECK(root[4] == Approx(1 - std::sqrt(0.5)).epsilon(1e-15));
  CHECK(root[5] == Approx(1 - std::sqrt(0.75)).epsilon(1e-15));
  CHECK(rates({.decay_steps = 0}, 3) == std::vector<double>{1, 1, 1});
}

TEST_CASE("Schedule: a run that stops anywhere goes on with the same bits", "[TR-02]") {
  for (const Decay decay : {Decay::cosine, Decay::linear, Decay::one_minus_sqrt}) {
    const Schedule schedule{.decay = decay, .warmup = 5};
    const auto whole = rates(schedule, 20, 3e-3);
    for (const Index stop : {1, 4, 5, 6, 7, 19, 20}) {
      std::vector<double> parts;
      for (Index s = 0; s < stop; ++s) parts.push_back(schedule.rate(s, 20, 3e-3));
      const Schedule read_back{decay_from_name(name_of(decay)), schedule.warmup, schedule.decay_steps,
                               schedule.floor};
      CHECK(read_back == schedule);
      for (Index s = stop; s < 20; ++s) parts.push_back(read_back.rate(s, 20, 3e-3));
      for (std::size_t s = 0; s < 20; ++s)
        CHECK(std::bit_cast<std::uint64_t>(parts[s]) == std::bit_cast<std::uint64_t>(whole[s]));
    }
  }
}

TEST_CASE("Schedule: the shortest runs") {
  CHECK(rates({}, 1) == std::vector<double>{1});
  CHECK(rates({.warmup = 1}, 1) == std::vector<double>{1});
  CHECK(rates({.warmup = 3}, 3).back() == 1);
  CHECK(rates({.decay = Decay::linear, .warmup = 1, .decay_steps = 1, .floor = 0}, 2) ==
        std::vector<double>{1, 1});
}

TEST_CASE("Schedule: options that cannot be are refused by name") {
  const auto error = [](const Schedule& schedule, Index steps) {
    return message_of([&] { schedule.check(steps); });
  };
  CHECK(error({}, 1) == "nothing was thrown");
  CHECK(error({.warmup = 20}, 20) == "nothing was thrown");
  CHECK(error({.warmup = 5, .decay_steps = 15}, 20) == "nothing was thrown");
  CHECK_THAT(error({}, 0), Catch::Contains("at least 1, found 0"));
  CHECK_THAT(error({.warmup = -1}, 5), Catch::Contains("warm-up"));
  CHECK_THAT(error({.warmup = 21}, 20), Catch::Contains("21 steps is longer than the run of 20"));
  CHECK_THAT(error({.warmup = 6, .decay_steps = 15}, 20),
             Catch::Contains("6 warm-up and 15 decay steps do not fit"));
  CHECK_THAT(error({.decay_steps = -2}, 20), Catch::Contains("decay steps"));
  CHECK_THAT(error({.decay_steps = std::numeric_limits<Index>::max()}, 20), Catch::Contains("do not fit"));
  for (const double floor : {-0.1, 1.1, std::nan(""), HUGE_VAL})
    CHECK_THAT(error({.floor = floor}, 20), Catch::Contains("floor"));
  CHECK_THAT(message_of([] { decay_from_name("sine"); }), Catch::Contains("\"sine\""));
}
