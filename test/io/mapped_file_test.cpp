#include "midus/io/mapped_file.hpp"

#include <sys/stat.h>

#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::message_of;
using midus::test::put_file;
using midus::test::TemporaryDirectory;

TEST_CASE("A file as bytes") {
  const TemporaryDirectory directory;
  const std::string content(10'000, 'q');
  MappedFile first(put_file(directory / "f", content));
  CHECK(first.size() == content.size());
  MappedFile file = std::move(first);
  CHECK(file.path() == directory / "f");
  CHECK(file.text() == content);
  CHECK(first.bytes().empty());  // NOLINT: says what a moved-from one is
  std::filesystem::remove(directory / "f");
  CHECK(file.bytes()[9'999] == std::byte{'q'});  // the mapping outlives the name
  file = MappedFile(put_file(directory / "empty", ""));
  CHECK(file.bytes().empty());
}

TEST_CASE("Errors of the standard library as sentences") {
  CHECK(sentence_of(Error("midus' own")) == "midus' own");
  CHECK(sentence_of(std::bad_alloc()) ==
        "there is not enough memory: the system has no more, or allows no more (ulimit -v)");
  try {
    std::filesystem::rename("no such file", "any");
    FAIL("nothing was thrown");
  } catch (const std::filesystem::filesystem_error& error) {
    CHECK(sentence_of(error) == "cannot use no such file: No such file or directory");
  }
}

TEST_CASE("What cannot be looked up is not taken for absent") {
  const TemporaryDirectory directory;
  put_file(directory / "f", "");
  std::filesystem::create_symlink("loop", directory / "loop");
  std::filesystem::create_symlink("none", directory / "dangling");
  CHECK(may_exist(directory / "f"));
  CHECK(may_exist(directory / "loop"));
  CHECK(may_exist(directory / std::string(300, 'x')));
  for (const char* const name : {"none", "none/f", "f/f", "dangling"})
    CHECK_FALSE(may_exist(directory / name));
  CHECK_THAT(message_of([&] { MappedFile file(directory / "loop"); }),
             Contains("loop: Too many levels of symbolic links"));
}

TEST_CASE("A mapping of an open file is of that file, whatever has its name now") {
  const TemporaryDirectory directory;
  const OpenFile open(put_file(directory / "f", "old"));
  std::filesystem::rename(put_file(directory / "g", "newer"), directory / "f");
  CHECK(MappedFile(open).text() == "old");
  CHECK(MappedFile(directory / "f").text() == "newer");
}

TEST_CASE("What is not a file to read") {
  const TemporaryDirectory directory;
  CHECK_THAT(message_of([&] { MappedFile file(directory / "none"); }),
             Contains("cannot open " + (directory / "none").string() + ": No such file"));
  CHECK_THAT(message_of([&] { MappedFile file(directory.path()); }),
             Contains("expected a file, found a directory"));
  ::mkfifo((directory / "pipe").c_str(), 0600);
  CHECK_THAT(message_of([&] { MappedFile file(directory / "pipe"); }), Contains("expected a regular file"));
  CHECK_THAT(message_of([&] { MappedFile file("/dev/zero"); }), Contains("expected a regular file"));
}
