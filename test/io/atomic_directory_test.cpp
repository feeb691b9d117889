#include "midus/io/atomic_directory.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/sanitizers.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::file_bytes;
using midus::test::message_of;
using midus::test::put_file;
using midus::test::TemporaryDirectory;

namespace {

std::size_t entries(const std::filesystem::path& directory) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

/// A directory with one file, which holds `content`.
std::filesystem::path put_directory(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directory(path);
  put_file(path / "file", content);
  return path;
}

}  // namespace

TEST_CASE("A directory appears whole") {
  const TemporaryDirectory directory;
  const auto target = directory / "step-1";
  {
    AtomicDirectory attempt(target.string() + "/");
    CHECK(attempt.target() == target);
    put_file(attempt.path() / "a", "1");
    CHECK_FALSE(std::filesystem::exists(target));
  }
  CHECK(entries(directory.path()) == 0);  // no commit: nothing is left

  AtomicDirectory attempt(target);
  write_file(attempt.path() / "a", "1");
  std::filesystem::create_directory(attempt.path() / "sub");
  write_file(attempt.path() / "sub/b", "2");
  attempt.commit();
  CHECK(file_bytes(target / "a") == "1");
  CHECK(file_bytes(target / "sub/b") == "2");
  CHECK(entries(target) == 2);
  CHECK(entries(directory.path()) == 1);

  CHECK_THAT(message_of([&] { AtomicDirectory again(target); }),
             Contains(target.string() + " exists already"));
  CHECK_THAT(message_of([&] { AtomicDirectory again(target / "a"); }), Contains("exists already"));
  std::filesystem::create_directory(directory / "empty");
  AtomicDirectory into_empty(directory / "empty");
  write_file(into_empty.path() / "a", "1");
  into_empty.commit();
  CHECK(file_bytes(directory / "empty/a") == "1");
}

#if !MIDUS_SANITIZED  // sanitizers look at memory through descriptors of their own
TEST_CASE("Where no more files can be opened, no directory is left behind") {
  const TemporaryDirectory directory;
  ::rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const ::rlimit none{0, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  const std::string said = message_of([&] { AtomicDirectory attempt(directory / "step-1"); });
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK_THAT(said, Contains("cannot open the directory") && Contains(": Too many open files"));
  CHECK(entries(directory.path()) == 0);
}
#endif

TEST_CASE("A directory takes its place by the name that is meant") {
  const TemporaryDirectory directory;
  CHECK(resolved(directory / "none/../model") == directory / "model");
  CHECK(resolved(directory / "model/") == directory / "model");
  CHECK(resolved("none/../x") == std::filesystem::current_path() / "x");
  CHECK_THAT(message_of([] { resolved(""); }), Contains("found an empty one"));
  CHECK_THAT(message_of([] { AtomicDirectory(""); }), Contains("found an empty one"));

  // Through a directory that is not there: the one that is meant is there.
  std::filesystem::create_directory(directory / "model");
  put_file(directory / "model/a", "old");
  CHECK_THAT(message_of([&] { AtomicDirectory(directory / "none/../model"); }), Contains("exists already"));
  CHECK(entries(directory.path()) == 1);

  // A link stays one, and leads to the new directory.
  std::filesystem::create_directory_symlink("model", directory / "link");
  AtomicDirectory replacing(directory / "none/../link", true);
  CHECK(replacing.target() == directory / "model");
  put_file(replacing.path() / "a", "new");
  replacing.commit();
  CHECK(file_bytes(directory / "model/a") == "new");
  CHECK(std::filesystem::is_symlink(directory / "link"));
  CHECK(entries(directory.path()) == 2);

  // What is no directory is not replaced by one.
  put_file(directory / "file", "a file");
  std::filesystem::create_symlink("nowhere", directory / "dangling");
  for (const std::string name : {"file", "dangling"})
    CHECK_THAT(message_of([&] { AtomicDirectory(directory / name, true); }),
               Contains(name + " exists already and is not a directory"));
  CHECK_THAT(message_of([&] { AtomicDirectory(directory / "file/a"); }),
             Contains("cannot create the directory " + (directory / "file").string()));
}

TEST_CASE("What no living process works on is cleared away, whatever its process's number was") {
  const TemporaryDirectory directory;
  const std::string token = "0123456789abcdef";
  // In a container every process has the same number: those of this one and of its parent count for nothing.
  for (const std::string& owner :
       {std::to_string(::getpid()), std::to_string(::getppid()), std::string("1"), token})
    put_directory(directory / ("model." + owner + ".tmp"), "half");
  for (const char* const name : {"model.mine.tmp", "model.tmp", "model.v2.1.tmp", "other.1.tmp",
                                 "model.old-2", "model.old-2024-11", "model.old-mine"})
    put_directory(directory / name, "somebody else's");
  put_file(directory / "model.7.tmp", "a file");
  std::filesystem::create_directory_symlink("model.mine.tmp", directory / "model.8.tmp");
  std::filesystem::create_directory(directory / "model");
  AtomicDirectory attempt(directory / "model");
  CHECK(entries(directory.path()) == 7 + 2 + 2);
  CHECK(file_bytes(directory / "model.mine.tmp/file") == "somebody else's");

  AtomicDirectory second(directory / "model");  // leaves the first one alone
  CHECK(attempt.path() != second.path());
  put_file(attempt.path() / "a", "first");
  put_file(second.path() / "a", "second");
  attempt.commit();
  CHECK_THAT(message_of([&] { second.commit(); }),
             Contains((directory / "model").string() + " exists already"));
  CHECK(file_bytes(directory / "model/a") == "first");
}

TEST_CASE("A directory is replaced at one moment, and a crash between two renames is made good") {
  const TemporaryDirectory directory;
  const auto target = put_directory(directory / "model", "old");
  {
    AtomicDirectory attempt(target, true);
    put_file(attempt.path() / "file", "new");
    CHECK(file_bytes(target / "file") == "old");
    attempt.commit();
  }
  CHECK(file_bytes(target / "file") == "new");
  CHECK(entries(directory.path()) == 1);

  // Where two names cannot be exchanged.
  const auto old = detail::replace_in_two_steps(put_directory(directory / "next", "newer"), target);
  CHECK(file_bytes(target / "file") == "newer");
  CHECK(file_bytes(old / "file") == "new");
  CHECK_THAT(message_of([&] { detail::replace_in_two_steps(directory / "none", target); }),
             Contains("cannot rename " + (directory / "none").string()));
  CHECK(file_bytes(target / "file") == "newer");
  { AtomicDirectory attempt(target, true); }  // finds what a crash left behind the second rename
  CHECK(entries(directory.path()) == 1);

  for (const char* const crashed : {"model.old-0123456789abcdef", "model.old-4711-0"}) {  // and before it
    std::filesystem::rename(target, directory / crashed);
    CHECK_THAT(message_of([&] { AtomicDirectory attempt(target); }), Contains("exists already"));
    CHECK(file_bytes(target / "file") == "newer");
    CHECK(entries(directory.path()) == 1);
  }
}

TEST_CASE("A directory's lock follows it and ends with its holder") {
  const TemporaryDirectory directory;
  put_directory(directory / "a", "1");
  auto lock = std::make_unique<DirectoryLock>(directory / "a");
  CHECK(lock->held());
  std::filesystem::rename(directory / "a", directory / "b");
  CHECK(DirectoryLock(directory / "b").taken());
  CHECK_FALSE(lock->removed());
  std::filesystem::remove_all(directory / "b");
  CHECK(lock->removed());
  CHECK_THAT(message_of([&] { DirectoryLock none(directory / "b"); }), Contains("cannot open the directory"));
}
