#include "midus/train/step_log.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::file_bytes;
using midus::test::message_of;

TEST_CASE("StepLog: a log that is cut back and continued is the uninterrupted one") {
  const test::TemporaryDirectory folder;
  const auto record = [](Index step) {
    return StepRecord{.step = step, .loss = 5.0 / static_cast<double>(step)};
  };
  std::vector<Index> lengths;
  {
    StepLog whole(folder / "whole");
    for (Index step = 1; step <= 6; ++step) {
      lengths.push_back(whole.length());
      whole.append(record(step));
      CHECK(static_cast<Index>(file_bytes(folder / "whole").size()) ==
            whole.length());  // nothing is held back
    }
    whole.sync();
  }
  for (Index stop = 0; stop < 6; ++stop) {
    const auto path = folder / "resumed";
    std::filesystem::remove(path);
    {
      StepLog log(path);
      for (Index step = 1; step <= 6; ++step) log.append(record(step));  // ran on behind its last checkpoint
    }
    StepLog log(path);
    log.truncate_to(lengths[static_cast<std::size_t>(stop)]);
    CHECK(log.length() == lengths[static_cast<std::size_t>(stop)]);
    for (Index step = stop + 1; step <= 6; ++step) log.append(record(step));
    CHECK(file_bytes(path) == file_bytes(folder / "whole"));
  }
}

TEST_CASE("StepLog: half a line that a crash left is cut off") {
  const test::TemporaryDirectory folder;
  StepLog(folder / "log").append({.step = 1});
  const std::string one = file_bytes(folder / "log");
  test::put_file(folder / "log", one + "{\"step\":2,\"l");
  StepLog log(folder / "log");
  log.truncate_to(static_cast<Index>(one.size()));
  CHECK(file_bytes(folder / "log") == one);
}

TEST_CASE("StepLog: a log that is not the recorded one is refused") {
  const test::TemporaryDirectory folder;
  StepLog log(folder / "log");
  log.append({.step = 1});
  const Index length = log.length();
  CHECK_THAT(message_of([&] { log.truncate_to(length + 1); }), Catch::Contains("not the log of this run"));
  CHECK_THAT(message_of([&] { log.truncate_to(length - 1); }), Catch::Contains("no line that ends at byte"));
  CHECK_THAT(message_of([&] { log.truncate_to(-1); }), Catch::Contains("-1"));
  CHECK(log.length() == length);
  CHECK_THAT(message_of([&] { StepLog(folder / "no" / "log"); }), Catch::Contains("No such file"));
  CHECK_THAT(message_of([&] { StepLog(folder.path()); }), Catch::Contains("cannot open the log"));
  CHECK_THAT(message_of([] { StepLog("/dev/null"); }), Catch::Contains("expected a regular file"));
}

TEST_CASE("StepProgress: says where the run stands") {
  const test::TemporaryDirectory folder;
  std::FILE* const out = std::fopen((folder / "out").c_str(), "w");
  {
    StepProgress progress(3, out, false, 0);
    progress.show(
        {.step = 1, .loss = 2.34567, .learning_rate = 3e-3, .tokens_per_s = 10700, .peak_share = 0.38});
    progress.show({.step = 2, .loss = 2});
    progress.show({.step = 3, .loss = 2});
  }
  {
    StepProgress progress(3, out, false, 3600);  // seldom, but always the last step
    for (Index step = 1; step <= 3; ++step) progress.show({.step = step, .loss = 1});
  }
  std::fclose(out);
  const std::string text = file_bytes(folder / "out");
  CHECK_THAT(text, Catch::StartsWith(
                       "step 1/3  loss 2.3457  rate 3.00e-03  10.7k tokens/s  38 % of peak  ? left\n"));
  CHECK_THAT(text, Catch::Contains("step 2/3  loss 2.0000  rate nan  ? tokens/s  0 s left\n"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 5);
}

TEST_CASE("StepProgress: says how far an evaluation is") {
  const test::TemporaryDirectory folder;
  std::FILE* const out = std::fopen((folder / "out").c_str(), "w");
  {
    StepProgress progress(3, out, false, 0);
    for (Index done = 1; done <= 4; ++done) progress.show_evaluation("new", done, 4);
  }
  std::fclose(out);
  CHECK(file_bytes(folder / "out") == "evaluating new  50 %  0 s left\nevaluating new  75 %  0 s left\n");
}
