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

TEST_CASE("refuse_run: says which of a run's models to name") {
  const TemporaryDirectory directory;
  const auto says = [&] { return message_of([&] { refuse_run(directory.path()); }); };
  CHECK(says() == "nothing was thrown");
  std::filesystem::create_directories(directory / "step-00000007");
  midus::test::put_file(directory / "step-00000007/trainer.json", "{}");
  const std::string step = (directory / "step-00000007").string(), final = (directory / "final").string();
  CHECK_THAT(says(), Catch::EndsWith("name a model in it: " + step));
  std::filesystem::create_directories(directory / "final");
  midus::test::put_file(directory / "final/config.json", "{}");
  CHECK_THAT(says(), Catch::EndsWith("name a model in it: " + final + ", or a checkpoint such as " + step));
  midus::test::put_file(directory / "config.json", "{}");
  CHECK(says() == "nothing was thrown");
}
