#include "midus/train/run_directory.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "midus/train/replaced_run.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;
using midus::test::TemporaryDirectory;

namespace {
int flock_fails_with = 0;
}

// The program's own, in the place of the system's: a file system may have no locks.
extern "C" int flock(int descriptor, int operation) noexcept {
  if (flock_fails_with == 0) return static_cast<int>(::syscall(SYS_flock, descriptor, operation));
  errno = flock_fails_with;
  return -1;
}

TEST_CASE("RunLock: a file system without locks is named, and nothing unfinished is cleared away there") {
  const TemporaryDirectory directory;
  const std::string unfinished = "step-00000003.0123456789abcdef.tmp";
  std::filesystem::create_directory(directory / unfinished);
  for (const int code : {ENOLCK, EOPNOTSUPP, ENOSYS, EINVAL}) {
    flock_fails_with = code;
    const RunLock lock(directory.path());
    const AtomicDirectory attempt(directory / "step-00000003");
    repair_run(directory.path());
    flock_fails_with = 0;
    CHECK_THAT(
        lock.warning(),
        Catch::Contains("cannot lock " + directory.path().string() + " (" + system_message(code) + ")") &&
            Catch::Contains("nothing keeps another process from training into it too"));
    CHECK(std::filesystem::exists(attempt.path()));
    CHECK(std::filesystem::exists(directory / unfinished));
  }
  {
    const RunLock lock(directory.path());
    CHECK(lock.warning().empty());
    flock_fails_with = EWOULDBLOCK;  // somebody else's, on another host
    CHECK_THAT(message_of([&] { RunLock second(directory.path()); }),
               Catch::Contains("another process trains into this directory"));
    flock_fails_with = 0;
  }
  repair_run(directory.path());
  CHECK_FALSE(std::filesystem::exists(directory / unfinished));
}

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
