#include "midus/train/progress.hpp"

#include <cmath>
#include <cstdio>
#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;

TEST_CASE("Progress: durations and counts are short") {
  CHECK(duration_text(0) == "0 s");
  CHECK(duration_text(59.4) == "59 s");
  CHECK(duration_text(59.6) == "1 min 00 s");
  CHECK(duration_text(200) == "3 min 20 s");
  CHECK(duration_text(7380) == "2 h 03 min");
  for (const double unknown : {std::nan(""), -1.0, HUGE_VAL}) CHECK(duration_text(unknown) == "?");
  CHECK(count_text(0) == "0");
  CHECK(count_text(999.4) == "999");
  CHECK(count_text(999.6) == "1.00k");
  CHECK(count_text(10700) == "10.7k");
  CHECK(count_text(99960) == "100k");
  CHECK(count_text(3.2e6) == "3.20M");
  CHECK(count_text(5e15) == "5000T");
  CHECK(count_text(std::nan("")) == "?");
}

TEST_CASE("Progress: a terminal's line is rewritten, a file gets lines") {
  const test::TemporaryDirectory folder;
  const auto shown = [&](bool terminal) {
    std::FILE* const out = std::fopen((folder / "out").c_str(), "w");
    {
      ProgressLine line(out, terminal, 3600);
      CHECK(line.due());
      line.show("one");
      CHECK_FALSE(line.due());
      CHECK(line.due(true));  // the end is shown where something was
      line.show("two");
    }
    std::fclose(out);
    return test::file_bytes(folder / "out");
  };
  CHECK(shown(false) == "one\ntwo\n");
  CHECK(shown(true) == "\rone\x1b[K\rtwo\x1b[K\n");
}
