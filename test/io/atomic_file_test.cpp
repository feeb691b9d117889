#include "midus/io/atomic_file.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

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

TEST_CASE("A device, a pipe or a descriptor is not replaced by a file") {
  const TemporaryDirectory directory;
  REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_symlink("/proc/self/fd/1", directory / "stdout");
  std::filesystem::create_symlink("pipe", directory / "link");
  std::filesystem::create_symlink("/dev/null", directory / "null");
  for (const char* const name : {"pipe", "stdout", "link", "null"})
    CHECK_THAT(message_of([&] { write_file(directory / name, "x"); }),
               Contains((directory / name).string() + ": expected a file, found a device or a pipe"));
  CHECK(std::filesystem::is_fifo(directory / "pipe"));
  CHECK(std::filesystem::is_symlink(directory / "stdout"));
  CHECK(entries(directory.path()) == 4);
  std::filesystem::create_symlink("new", directory / "dangling");  // is replaced, as any name is
  write_file(directory / "dangling", "x");
  CHECK(file_bytes(directory / "dangling") == "x");
}

TEST_CASE("Where a path leads cannot be said without a working directory") {
  const TemporaryDirectory directory;
  const auto here = std::filesystem::current_path();
  std::filesystem::create_directory(directory / "gone");
  std::filesystem::current_path(directory / "gone");
  std::filesystem::remove(directory / "gone");
  const std::string said = message_of([] { resolved("x"); });
  std::filesystem::current_path(here);
  CHECK_THAT(said, Contains("cannot look up x: No such file or directory"));
}
