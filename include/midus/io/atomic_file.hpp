// Files that appear whole or not at all.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/mapped_file.hpp"

namespace midus {

/// Makes what was written under `path` (a file's bytes, a directory's names) outlive a power cut.
inline void sync_to_disk(const std::filesystem::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // EINVAL: a file system that cannot do this for a directory.
  if (!file || (::fsync(file.get()) != 0 && errno != EINVAL))
    fail("cannot write ", path.string(), " to disk: ", system_message(errno));
}

/// The directory that holds `path`.
inline std::filesystem::path directory_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// Where `path` leads, also where nothing is there yet: absolute, with links followed, without "." and "..".
/// Of "none/../model", where there is no "none", that is "model": what it names once "none" has been made.
inline std::filesystem::path resolved(const std::filesystem::path& path) {
  if (path.empty()) fail("expected the name of a file or directory, found an empty one");
  std::error_code error;
  std::filesystem::path at = std::filesystem::absolute(path, error);
  if (!error) at = std::filesystem::weakly_canonical(at, error);
  // Again: without its "none/.." it may be, or lead through, a link.
  if (!error) at = std::filesystem::weakly_canonical(at, error);
  if (error) fail("cannot look up ", path.string(), ": ", error.message());
  return at.has_filename() ? at : at.parent_path();  // "models/new/" names the directory "models/new"
}

/// Whether a directory can come to lie at `path` without replacing anything: there is nothing, or one that is
/// empty.
inline bool is_vacant(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return std::filesystem::is_empty(path, error);
  return !std::filesystem::exists(std::filesystem::symlink_status(path, error));
}

/// Makes a directory, and those above it, where they are not there yet.
inline void make_directories(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) fail("cannot create the directory ", directory.string(), ": ", error.message());
}

/// 16 hexadecimal digits at random, for names that nobody else comes upon. (A process's number does not tell
/// processes apart: in a container every run has the same one, and hosts that share a disk know only their
/// own.)
inline std::string random_token() {
  std::array<unsigned char, 8> bytes{};
  if (::getentropy(bytes.data(), bytes.size()) != 0)
    fail("the system gives no random numbers: ", system_message(errno));
  std::string token;
  for (const unsigned char byte : bytes) {
    token += "0123456789abcdef"[byte >> 4];
    token += "0123456789abcdef"[byte & 15];
  }
  return token;
}

namespace detail {
inline bool is_random_token(std::string_view text) {
  return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == text.npos;
}
}  // namespace detail

/// A file that is written under a temporary name beside its target and takes the target's place in
/// `commit()`: whoever reads the target sees the old file or the new one, also after a crash. Without
/// `commit()`, and after any error, the old file is untouched and the temporary one is removed.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target) : target_(std::move(target)) {
    std::error_code error;
    const auto there = std::filesystem::status(target_, error);
    if (std::filesystem::is_directory(there))
      fail("cannot write ", target_.string(), ": expected a file, found a directory");
    // Who may write to /dev would replace /dev/null, or the link /dev/stdout, by a file.
    const bool open_already = std::filesystem::read_symlink(target_, error).string().starts_with("/proc/");
    if (open_already || (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there)))
      fail("cannot write ", target_.string(), ": expected a file, found a device or a pipe; name a file");
    temporary_ = target_;
    temporary_ += ".tmp-" + random_token();
    file_ = FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!file_) {
      const int reason = errno;
      if (!std::filesystem::is_directory(directory_of(target_), error))
        fail("cannot write ", target_.string(), ": there is no directory ", directory_of(target_).string());
      fail("cannot write ", target_.string(), " (as ", temporary_.filename().string(),
           " first): ", system_message(reason));
    }
  }
  AtomicFile(AtomicFile&& other) noexcept
      : target_(std::move(other.target_)),
        temporary_(std::exchange(other.temporary_, {})),
        file_(std::move(other.file_)),
        end_(other.end_) {}
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile() { discard(); }

  const std::filesystem::path& target() const { return target_; }

  /// Appends.
  void write(std::span<const std::byte> bytes) { write_at(end_, bytes); }
  void write(std::string_view characters) {
    write(std::as_bytes(std::span(characters.data(), characters.size())));
  }

  /// Writes at an offset in bytes; what lies between the old end and it reads as zero.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      // In pieces: the system takes at most 2 GiB at once.
      const std::size_t piece = std::min<std::size_t>(bytes.size(), std::size_t{1} << 30);
      const ::ssize_t written = ::pwrite(file_.get(), bytes.data(), piece, static_cast<::off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) give_up("write", written < 0 ? errno : ENOSPC);
      offset += static_cast<std::uint64_t>(written);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
      end_ = std::max(end_, offset);
    }
  }

  /// To disk with what was written: nothing more will be. The target is still the old one.
  void close() {
    if (!file_) return;
    if (::fsync(file_.get()) != 0) give_up("write", errno);
    if (!file_.close()) give_up("write", errno);
  }

  /// Puts the new file in the old one's place. Throws `Error` where anything failed; then the old one stays.
  void commit() {
    close();
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) give_up("replace", errno);
    temporary_.clear();
    sync_to_disk(directory_of(target_));
  }

 private:
  [[noreturn]] void give_up(const char* what, int code) {
    discard();
    fail("cannot ", what, " ", target_.string(), ": ", system_message(code),
         "; the old file, if any, is untouched");
  }
  void discard() {
    if (temporary_.empty()) return;
    ::unlink(temporary_.c_str());
    temporary_.clear();
  }

  std::filesystem::path target_;
  std::filesystem::path temporary_;  ///< empty: there is none (any more)
  FileDescriptor file_;
  std::uint64_t end_ = 0;
};

/// Removes what crashes have left of attempts to write `target`. For who knows that nobody is writing it now.
inline void remove_unfinished(const std::filesystem::path& target) {
  const std::string begin = target.filename().string() + ".tmp-";
  std::vector<std::filesystem::path> left;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_of(target), error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(begin) && detail::is_random_token(std::string_view(name).substr(begin.size())))
      left.push_back(entry.path());
  }
  for (const std::filesystem::path& file : left) std::filesystem::remove(file, error);
}

/// Writes a whole file atomically.
inline void write_file(const std::filesystem::path& target, std::string_view characters) {
  AtomicFile file(target);
  file.write(characters);
  file.commit();
}

}  // namespace midus
