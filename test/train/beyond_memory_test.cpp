#include "midus/train/beyond_memory.hpp"

#include "support/catch.hpp"

using namespace midus;

TEST_CASE("beyond_memory: what does not fit is said, with what to do") {
  CHECK(beyond_memory(2e6, 2e6).empty());
  CHECK(beyond_memory(1e30, 0).empty());  // nobody knows
  CHECK_THAT(beyond_memory(2e6 + 1, double{2 << 20} / 2),
             Catch::StartsWith("more than the 1.0 MiB of this machine: take a smaller batch"));
}
