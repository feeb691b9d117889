#include "midus/train/run_directory.hpp"

#include <cerrno>
#include <memory>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;
using midus::test::TemporaryDirectory;

TEST_CASE("RunLock: one at a time, and none is left behind") {
  const TemporaryDirectory directory;
  errno = EWOULDBLOCK;  // of something before
  auto lock = std::make_unique<RunLock>(directory.path());
  CHECK_THAT(message_of([&] { RunLock second(directory.path()); }),
             Catch::Contains("another process trains into this directory"));
  lock.reset();
  CHECK(message_of([&] { RunLock second(directory.path()); }) == "nothing was thrown");
  CHECK_THAT(message_of([&] { RunLock none(directory / "none"); }),
             Catch::Contains("cannot open the directory"));
}
