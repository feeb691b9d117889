// A file of lines that only grows, but for what a resumed run cuts off.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/mapped_file.hpp"

namespace midus {

/// A log in JSON lines. Every line goes to the system at once, in one piece: it survives the death of the
/// process, and a reader never sees half of one (`sync` makes it survive a power cut). A training checkpoint
/// records `length()`; resuming cuts the log back to that.
class LineLog {
 public:
  /// Appends to the file, or makes it.
  explicit LineLog(std::filesystem::path path) : path_(std::move(path)) {
    file_ = FileDescriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666));
    if (!file_) fail("cannot open the log ", path_.string(), ": ", system_message(errno));
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0 || !S_ISREG(status.st_mode))
      fail("the log ", path_.string(), ": expected a regular file");
    length_ = static_cast<Index>(status.st_size);
  }

  const std::filesystem::path& path() const { return path_; }

  /// Bytes written so far, those of earlier runs included.
  Index length() const { return length_; }

  /// Adds a line, which must end with a line feed; all of it or, where that fails, nothing.
  void append(std::string_view line) {
    std::string_view rest = line;
    while (!rest.empty()) {
      const ::ssize_t written = ::write(file_.get(), rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) {
        const int reason = errno;
        const bool cut = ::ftruncate(file_.get(), static_cast<::off_t>(length_)) == 0;
        fail("cannot write the log ", path_.string(), ": ", system_message(reason),
             cut ? "" : "; it ends with a part of a line");
      }
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
    length_ += static_cast<Index>(line.size());
  }

  /// Cuts off what lies behind `length` bytes. Refused where the file is shorter, or the cut would lie inside
  /// a line: then it is not the log that was recorded.
  void truncate_to(Index length) {
    if (length < 0 || length > length_)
      fail("the log ", path_.string(), " has ", length_, " bytes, the checkpoint records ", length,
           "; it is not the log of this run");
    char last = '\n';
    if (length > 0 && ::pread(file_.get(), &last, 1, static_cast<::off_t>(length - 1)) != 1)
      fail("cannot read the log ", path_.string(), ": ", system_message(errno));
    if (last != '\n')
      fail("the log ", path_.string(), " has no line that ends at byte ", length,
           ", as the checkpoint records; it is not the log of this run");
    if (::ftruncate(file_.get(), static_cast<::off_t>(length)) != 0)
      fail("cannot shorten the log ", path_.string(), ": ", system_message(errno));
    length_ = length;
  }

  /// To disk. A checkpoint that records the length calls it first.
  void sync() {
    if (::fsync(file_.get()) != 0)
      fail("cannot write the log ", path_.string(), " to disk: ", system_message(errno));
  }

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  Index length_ = 0;
};

}  // namespace midus
