#include "midus/train/step_record.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "midus/core/random.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;

namespace {

std::string line_of(const StepRecord& record) { return std::string(StepLine().format(record)); }
StepRecord parse(std::string line) {
  if (!line.empty() && line.back() == '\n') line.pop_back();
  return parse_step(line, "log:1");
}

}  // namespace

TEST_CASE("StepRecord: a line of JSON") {
  StepRecord record{.step = 3,
                    .loss = 5.5,
                    .learning_rate = 3e-3,
                    .grad_norm = 0.1,
                    .tokens = 2048,
                    .tokens_per_s = 10700,
                    .peak_share = 0.375,
                    .peak_bytes = 1 << 30,
                    .time = 1764079200.25};
  CHECK(line_of(record) ==
        R"({"step":3,"loss":5.5,"learning_rate":0.003,"grad_norm":0.1,"tokens":2048,"tokens_per_s":10700,)"
        R"("peak_share":0.375,"peak_bytes":1073741824,"time":1764079200.25})"
        "\n");
  record.loss = std::nan("");
  record.grad_norm = -HUGE_VAL;
  CHECK_THAT(line_of(record), Catch::Contains("\"loss\":null,") && Catch::Contains("\"grad_norm\":null,"));
}

TEST_CASE("StepRecord: every double comes back with the same bits, and the longest line fits") {
  const Random random(1, "records");
  std::size_t longest = 0;
  for (Index i = 0; i < 20000; ++i) {
    StepRecord record;
    Index at = i * 16;
    StepRecord::visit(record, [&](auto, auto& value) {
      const std::uint64_t bits = random.bits(at++);
      if constexpr (std::is_same_v<std::remove_reference_t<decltype(value)>, double>)
        value = std::bit_cast<double>(bits);
      else
        value = static_cast<Index>(bits);
    });
    const std::string line = line_of(record);
    longest = std::max(longest, line.size());
    CHECK(line_of(parse(line)) == line);
    const double loss = parse(line).loss;
    if (std::isfinite(record.loss))
      REQUIRE(std::bit_cast<std::uint64_t>(loss) == std::bit_cast<std::uint64_t>(record.loss));
    else
      REQUIRE(std::isnan(loss));
  }
  CHECK(longest <= 340);  // of 512
  for (const double value : {5e-324, -0.0, std::numeric_limits<double>::max(), -2.2250738585072014e-308}) {
    const double back = parse(line_of({.loss = value})).loss;
    CHECK(std::bit_cast<std::uint64_t>(back) == std::bit_cast<std::uint64_t>(value));
  }
}

TEST_CASE("StepRecord: what is not such a line is refused with its column") {
  const std::string line = line_of({.step = 1, .loss = 2});
  const std::string good = line.substr(0, line.size() - 1);
  CHECK(parse(good).step == 1);
  const auto error = [](const std::string& text) {
    return message_of([&] { parse_step(text, "run/log.jsonl:7"); });
  };
  CHECK_THAT(error(""), Catch::Contains("run/log.jsonl:7: expected '{\"' at column 1"));
  CHECK_THAT(error("{\"step\":x,"), Catch::Contains("a number for \"step\" at column 9"));
  CHECK_THAT(error("{\"step\":null,"), Catch::Contains("a number for \"step\""));
  CHECK_THAT(error(good + "x"), Catch::Contains("behind the closing brace"));
  CHECK_THAT(error("{\"loss\":2}"), Catch::Contains("expected 'step'"));
  for (std::size_t length = 0; length < good.size(); ++length)
    CHECK_THAT(error(good.substr(0, length)), Catch::Contains("log.jsonl:7"));
}

TEST_CASE("StepRecord: a log is read, and exported as CSV") {
  const test::TemporaryDirectory folder;
  const auto log = folder / "log.jsonl", csv = folder / "log.csv";
  test::put_file(log, line_of({.step = 1, .loss = 0.1, .tokens = 8, .time = 1.5}) +
                          line_of({.step = 2, .loss = 3, .tokens = 16}) + "{\"step\":3,\"lo");
  REQUIRE(read_step_log(log).size() == 2);
  CHECK(read_step_log(log)[1].tokens == 16);
  export_csv(log, csv);
  CHECK(test::file_bytes(csv) ==
        "step,loss,learning_rate,grad_norm,tokens,tokens_per_s,peak_share,peak_bytes,time\n"
        "1,0.1,,,8,,,0,1.5\n2,3,,,16,,,0,\n");
  test::put_file(log, line_of({.step = 1}) + "\n");
  CHECK_THAT(message_of([&] { read_step_log(log); }), Catch::Contains("log.jsonl:2: expected"));
  test::put_file(log, "");
  CHECK(read_step_log(log).empty());
  CHECK_THAT(message_of([&] { read_step_log(folder / "none"); }), Catch::Contains("No such file"));
}
