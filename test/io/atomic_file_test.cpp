#include "midus/io/atomic_file.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "midus/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::file_bytes;
using midus::test::message_of;
using midus::test::put_file;
using midus::test::TemporaryDirectory;

namespace {

/// While it lives, no file can grow beyond `bytes`: writing fails as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(::rlim_t bytes) : old_signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    ::rlimit limit = old_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_signal_);
  }

 private:
  ::rlimit old_{};
  void (*old_signal_)(int);
};

std::size_t entries(const std::filesystem::path& directory) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

}  // namespace

TEST_CASE("A file is the old one until it is the new one") {
  const TemporaryDirectory directory;
  const auto path = put_file(directory / "f", "old");
  {
    AtomicFile file(path);
    file.write("new");
    CHECK(file_bytes(path) == "old");
    file.write_at(6, std::as_bytes(std::span("end", 3)));
    file.write("!");
    AtomicFile moved = std::move(file);
    CHECK(file_bytes(path) == "old");
    moved.commit();
    CHECK(file_bytes(path) == std::string("new\0\0\0end!", 10));
  }
  CHECK(file_bytes(path).size() == 10);
  { AtomicFile file(path); }  // no commit
  CHECK(file_bytes(path).size() == 10);
  write_file(directory / "g", "");
  CHECK(file_bytes(directory / "g").empty());
  CHECK(entries(directory.path()) == 2);
  {
    AtomicFile one(path), two(path);  // the last to commit wins
    one.write("1");
    two.write("2");
    two.commit();
    one.commit();
  }
  CHECK(file_bytes(path) == "1");
}

TEST_CASE("A full disk leaves the old file whole and nothing beside it") {
  const TemporaryDirectory directory;
  const auto path = put_file(directory / "f", "old");
  const std::string bytes(10'000, 'x');
  std::string said, said_of_tensors;
  {
    const FullDisk full(4096);
    said = message_of([&] { write_file(path, bytes); });
    said_of_tensors = message_of([&] {
      SafetensorsWriter writer(path, {{"a", Dtype::u8, {10'000}}});
      writer.write("a", std::as_bytes(std::span(bytes)));
    });
  }
  CHECK_THAT(said, Contains("cannot write " + path.string() + ": File too large; the old file"));
  CHECK(said_of_tensors == said);
  CHECK(file_bytes(path) == "old");
  CHECK(entries(directory.path()) == 1);
}

TEST_CASE("Where no file can be written") {
  const TemporaryDirectory directory;
  CHECK_THAT(message_of([&] { write_file(directory / "none/f", "x"); }),
             Contains("none/f: there is no directory " + (directory / "none").string()));
  CHECK_THAT(message_of([&] { write_file(directory.path(), "x"); }),
             Contains("expected a file, found a directory"));
}

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

  // A process that is gone: nobody waits for it any more, so its number is free.
  const ::pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  REQUIRE(::waitpid(gone, nullptr, 0) == gone);
  const auto of = [&](const auto& owner) { return directory / text("step-1.", owner, ".tmp"); };
  for (const auto& path : {of(gone), of(::getppid()), of("mine"), directory / "step-1.tmp"}) {
    std::filesystem::create_directory(path);
    put_file(path / "file", "1");
  }
  AtomicDirectory attempt(target);
  CHECK_FALSE(std::filesystem::exists(of(gone)));                                     // from a crash
  for (const auto& path : {of(::getppid()), of("mine"), directory / "step-1.tmp"}) {  // of somebody else
    CHECK(file_bytes(path / "file") == "1");
    std::filesystem::remove_all(path);
  }
  CHECK_THAT(message_of([&] { AtomicDirectory second(target); }), Contains("this process is writing"));
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
