// Directories that appear whole or not at all.
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/mapped_file.hpp"

namespace midus {

/// A hold on a directory that nobody else, in this process or another, has at the same time. It stays on the
/// directory whatever becomes of its name, and ends with the object or with the process, however that dies.
class DirectoryLock {
 public:
  /// Takes it, or finds that it cannot be had; never waits. Throws `Error` where there is no such directory.
  explicit DirectoryLock(const std::filesystem::path& directory)
      : directory_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (!directory_) fail("cannot open the directory ", directory.string(), ": ", system_message(errno));
    if (::flock(directory_.get(), LOCK_EX | LOCK_NB) != 0) error_ = errno;
  }

  bool held() const { return error_ == 0; }
  /// Whether somebody else has it.
  bool taken() const { return error_ == EWOULDBLOCK; }
  /// Why it is neither held nor taken: some network file systems have no locks.
  std::string reason() const { return system_message(error_); }
  /// Whether the directory has been removed meanwhile.
  bool removed() const {
    struct stat status {};
    return ::fstat(directory_.get(), &status) != 0 || status.st_nlink == 0;
  }

 private:
  FileDescriptor directory_;  // closing it unlocks
  int error_ = 0;
};

namespace detail {

/// What tells one attempt's directory from another's: `random_token`, or (before that) a process's number.
inline bool is_token(std::string_view token) {
  const bool decimal = !token.empty() && token.find_first_not_of("0123456789") == token.npos;
  return decimal || is_random_token(token);
}

/// The NAME of an unfinished NAME.TOKEN.tmp; else "".
inline std::string_view name_of_unfinished(std::string_view entry) {
  if (!entry.ends_with(".tmp")) return {};
  entry.remove_suffix(4);
  const std::size_t dot = entry.rfind('.');
  return dot != entry.npos && is_token(entry.substr(dot + 1)) ? entry.substr(0, dot) : std::string_view();
}

/// The NAME of a replaced NAME.old-TOKEN (before there were tokens: NAME.old-PID-0); else "".
inline std::string_view name_of_replaced(std::string_view entry) {
  const std::size_t old = entry.rfind(".old-");
  if (old == entry.npos) return {};
  std::string_view token = entry.substr(old + 5);
  if (token.ends_with("-0"))
    token.remove_suffix(2);
  else if (token.size() != 16)
    return {};
  return is_token(token) ? entry.substr(0, old) : std::string_view();
}

}  // namespace detail

/// Clears away what attempts of processes that are no more have left of directories NAME in `directory`,
/// where `of(NAME)`: an unfinished NAME.TOKEN.tmp is removed; NAME.old-TOKEN, which was being replaced, gets
/// its name back where there is none of that name, and is removed where there is. What a living process works
/// on is locked and stays; on a file system without locks everything does.
template <class Of>
void clear_leftovers(const std::filesystem::path& directory, Of&& of) {
  std::error_code error, ignored;
  for (std::filesystem::directory_iterator entry(directory, error), last; !error && entry != last;
       entry.increment(error)) {
    const std::filesystem::path path = entry->path();
    const std::string name = path.filename().string();
    const std::string_view unfinished = detail::name_of_unfinished(name),
                           replaced = detail::name_of_replaced(name),
                           of_name = unfinished.empty() ? replaced : unfinished;
    if (of_name.empty() || !of(of_name) || !std::filesystem::is_directory(entry->symlink_status(ignored)))
      continue;
    try {
      const DirectoryLock lock(path);
      if (!lock.held()) continue;
      if (!replaced.empty() && ::rename(path.c_str(), (directory / replaced).c_str()) == 0) continue;
      std::filesystem::remove_all(path, ignored);
    } catch (const Error&) {  // somebody else has just removed it, or it may not be read: then it stays
    }
  }
}

namespace detail {

/// Puts `from` in the place of the directory `to`, for file systems that cannot exchange two names: between
/// two renames there is no `to`. A crash there leaves TO.old-TOKEN, which `clear_leftovers` puts back.
/// Returns where the old one is now; throws `Error` with the old one in its place.
inline std::filesystem::path replace_in_two_steps(const std::filesystem::path& from,
                                                  const std::filesystem::path& to) {
  std::filesystem::path old = to;
  old += ".old-" + random_token();
  const DirectoryLock lock(to);  // nobody may put it back before the second step
  if (::rename(to.c_str(), old.c_str()) != 0)
    fail("cannot rename ", to.string(), " to ", old.string(), ": ", system_message(errno));
  if (::rename(from.c_str(), to.c_str()) != 0) {
    const int reason = errno;
    const bool back = ::rename(old.c_str(), to.c_str()) == 0;
    fail("cannot rename ", from.string(), " to ", to.string(), ": ", system_message(reason),
         back ? "" : "; what was there before is now " + old.string());
  }
  return old;
}

}  // namespace detail

/// A directory that is filled under the name `TARGET.TOKEN.tmp`, TOKEN being 16 digits at random, and takes
/// its name in `commit()`. Without `commit()` it is removed; one that a crash has left behind is removed by
/// the next attempt (`clear_leftovers`). A `TARGET.tmp` is somebody else's.
class AtomicDirectory {
 public:
  /// Throws `Error` where `target` exists already (an empty directory may), unless it is a directory that may
  /// be replaced: then the old one stays until the new one is complete. A link to a directory stays a link.
  explicit AtomicDirectory(const std::filesystem::path& target, bool replace = false)
      : target_(resolved(target)), replace_(replace) {
    clear_leftovers(directory_of(target_),
                    [&](std::string_view name) { return name == target_.filename().string(); });
    std::error_code error;
    if (!is_vacant(target_) && !(replace && std::filesystem::is_directory(target_, error))) refuse();
    make_directories(directory_of(target_));
    do {  // again where whoever clears up was faster than the lock
      temporary_ = target_;
      temporary_ += "." + random_token() + ".tmp";
      if (::mkdir(temporary_.c_str(), 0777) != 0) {
        const int reason = errno;
        const std::string name = std::exchange(temporary_, {}).string();
        fail("cannot create ", name, ": ", system_message(reason));
      }
    } while (!lock());
  }
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  ~AtomicDirectory() {
    std::error_code ignored;
    if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
  }

  /// Where to write.
  const std::filesystem::path& path() const { return temporary_; }
  const std::filesystem::path& target() const { return target_; }

  /// Every file and directory goes to disk, then the name changes: whoever looks finds the old directory or
  /// the new one. Throws `Error` where that failed, or where another process came first; the old one stays.
  void commit() {
    try {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(temporary_))
        if (!entry.is_symlink()) sync_to_disk(entry.path());
    } catch (const std::filesystem::filesystem_error& error) {
      fail("cannot read ", temporary_.string(), ": ", error.code().message());
    }
    sync_to_disk(temporary_);
    std::filesystem::path old;  // what the new directory has replaced
    if (::rename(temporary_.c_str(), target_.c_str()) !=
        0) {  // works where there is nothing, or nothing in it
      std::error_code error;
      if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
        fail("cannot rename ", temporary_.string(), " to ", target_.string(), ": ", system_message(errno));
      if (!replace_ || !std::filesystem::is_directory(target_, error)) refuse();
      if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0)
        old = temporary_;
      else if (errno == EINVAL || errno == ENOSYS)
        old = detail::replace_in_two_steps(temporary_, target_);
      else
        fail("cannot replace ", target_.string(), ": ", system_message(errno));
    }
    temporary_.clear();
    sync_to_disk(directory_of(target_));
    std::error_code ignored;
    if (!old.empty()) std::filesystem::remove_all(old, ignored);
  }

 private:
  [[noreturn]] void refuse() const {
    std::error_code error;
    fail(target_.string(), " exists already",
         std::filesystem::is_directory(target_, error) ? "" : " and is not a directory",
         "; remove it or choose another name");
  }

  /// Locks the new directory; false where it is gone already. Without locks nobody clears anything away.
  bool lock() {
    try {
      lock_.emplace(temporary_);
    } catch (const Error&) {
      if (::rmdir(temporary_.c_str()) == 0) throw;  // else it is gone already
      return false;
    }
    return !lock_->taken() && !lock_->removed();
  }

  std::filesystem::path target_;     ///< `resolved`: a way through what is made here would lead elsewhere
  std::filesystem::path temporary_;  ///< empty once it has been renamed
  bool replace_;
  std::optional<DirectoryLock> lock_;  ///< on the new directory, as long as it may be unfinished
};

}  // namespace midus
