// A file to read, as one span of bytes.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "midus/core/error.hpp"

namespace midus {

/// What the system says about an `errno`: "No such file or directory".
inline std::string system_message(int code) { return std::generic_category().message(code); }

/// What an error says, as a sentence: those of the standard library are none.
inline std::string sentence_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error))
    return "there is not enough memory: the system has no more, or allows no more (ulimit -v)";
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return "cannot use " + file->path1().string() + ": " + file->code().message();
  return error.what();
}

/// Whether there is something at `path`. What the system cannot look up counts as there, so that who then
/// opens it says why that fails, and nothing is passed over.
inline bool may_exist(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error) || error;
}

/// An open file descriptor that closes itself.
class FileDescriptor {
 public:
  explicit FileDescriptor(int descriptor = -1) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FileDescriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

  /// Closes now, and says whether that went well (some file systems report a failed write only here).
  bool close() { return ::close(std::exchange(descriptor_, -1)) == 0; }

 private:
  int descriptor_;
};

/// A regular file that is read piece by piece, through a descriptor: who shortens it meanwhile causes an
/// error, where a mapping would end the program.
class OpenFile {
 public:
  /// Throws `Error` where the file cannot be opened, or is a directory, a pipe or a device.
  explicit OpenFile(std::filesystem::path path) : path_(std::move(path)) {
    // O_NONBLOCK: opening a pipe that nobody writes to must not hang.
    file_ = FileDescriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file_) fail("cannot open ", path_.string(), ": ", system_message(errno));
    opened_ = status();
    if (S_ISDIR(opened_.st_mode))
      fail("cannot read ", path_.string(), ": expected a file, found a directory");
    if (!S_ISREG(opened_.st_mode))
      fail("cannot read ", path_.string(), ": expected a regular file, found a pipe or a device");
  }

  const std::filesystem::path& path() const { return path_; }
  /// In bytes, when it was opened.
  std::size_t size() const { return static_cast<std::size_t>(opened_.st_size); }
  /// Whether somebody has written to the file since.
  bool changed() const {
    const struct stat now = status();
    return now.st_size != opened_.st_size || now.st_mtim.tv_sec != opened_.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != opened_.st_mtim.tv_nsec;
  }

  int descriptor() const { return file_.get(); }

  /// Fills `bytes` with what stands from `offset` on. Throws `Error` where there is less.
  void read(std::size_t offset, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
      const ::ssize_t count = ::pread(file_.get(), bytes.data(), bytes.size(), static_cast<::off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("cannot read ", path_.string(), ": ", system_message(errno));
      if (count == 0)
        fail("cannot read ", path_.string(), ": there is no byte ", offset, " any more; it had ", size(),
             " bytes when it was opened: somebody has cut it; put the whole file back");
      bytes = bytes.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::size_t>(count);
    }
  }

 private:
  struct stat status() const {
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) fail("cannot read ", path_.string(), ": ", system_message(errno));
    return status;
  }

  std::filesystem::path path_;
  FileDescriptor file_;
  struct stat opened_ {};
};

/// A whole regular file, mapped read-only: pages are read when they are first touched, and the system may
/// drop them again, so a model larger than memory can be walked through. Nothing promises that a value inside
/// is aligned. The file must not be shortened by another program meanwhile (the system answers a read past
/// its end with SIGBUS); files that midus replaces are renamed over, which leaves a mapping whole.
class MappedFile {
 public:
  /// Throws `Error` where the file cannot be opened, or is a directory, a pipe or a device.
  explicit MappedFile(std::filesystem::path path) : MappedFile(OpenFile(std::move(path))) {}
  /// The very file that is open, whatever has its name now.
  explicit MappedFile(const OpenFile& file) : path_(file.path()) {
    const std::size_t size = file.size();
    if (size == 0) return;  // an empty mapping does not exist
    void* const start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
    if (start == MAP_FAILED)
      fail("cannot map ", path_.string(), " (", size, " bytes): ", system_message(errno));
    data_ = {static_cast<const std::byte*>(start), Unmap{size}};
  }

  const std::filesystem::path& path() const { return path_; }
  std::size_t size() const { return data_ ? data_.get_deleter().size : 0; }
  std::span<const std::byte> bytes() const { return {data_.get(), size()}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_.get()), size()}; }

  /// Gives back the memory behind a part of `bytes()` that has been read; it may be read again, from the
  /// system's cache or the disk.
  void release(std::span<const std::byte> part) const {
    static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto offset = static_cast<std::size_t>(part.data() - data_.get());
    assert(offset <= size() && part.size() <= size() - offset);
    const std::size_t begin = (offset + page - 1) / page * page, end = (offset + part.size()) / page * page;
    if (begin < end) ::madvise(const_cast<std::byte*>(data_.get()) + begin, end - begin, MADV_DONTNEED);
  }

 private:
  struct Unmap {
    std::size_t size;
    void operator()(const std::byte* start) const { ::munmap(const_cast<std::byte*>(start), size); }
  };

  std::filesystem::path path_;
  std::unique_ptr<const std::byte, Unmap> data_;
};

}  // namespace midus
