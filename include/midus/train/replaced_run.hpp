// A run that a new one is to replace: out of the way until the new one has something to show.
#pragma once

#include <stdio.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/train/run_directory.hpp"

// RUN/replaced-TOKEN/ holds all of the old run. While things are still being moved it is called
// replaced-TOKEN.tmp, so that a crash leaves a whole old run or a whole replaced one. A user's own
// replaced-2024 is none of this: TOKEN is a `random_token`. Whoever calls these functions has the `RunLock`.
namespace midus {

namespace detail {

inline void rename_or_fail(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    fail("cannot rename ", from.string(), " to ", to.string(), ": ", system_message(errno));
}

/// The directories of replaced runs in a run's directory: whole ones, or those that were being moved.
inline std::vector<std::filesystem::path> replaced_runs(const std::filesystem::path& directory, bool whole) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), last; !error && entry != last;
       entry.increment(error)) {
    const std::string file = entry->path().filename().string();
    std::string_view name = file;
    if (!name.starts_with("replaced-") || name.ends_with(".tmp") == whole) continue;
    name.remove_prefix(9);
    if (!whole) name.remove_suffix(4);
    if (is_random_token(name)) found.push_back(entry->path());
  }
  return found;
}

/// Moves what lies in `replaced` back into the run's directory.
inline void put_back(const std::filesystem::path& replaced, const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::directory_iterator entry(replaced, error), last; !error && entry != last;
       entry.increment(error))
    found.push_back(entry->path());
  for (const std::filesystem::path& from : found)
    if (const auto to = directory / from.filename();
        !std::filesystem::exists(std::filesystem::symlink_status(to, error)))
      std::filesystem::rename(from, to, error);
  std::filesystem::remove(replaced, error);  // where it is empty now
}

}  // namespace detail

/// Makes good what a crash left of `set_aside_run`, and removes the replaced run where the new one has a
/// checkpoint or its result: else it stays, or, where there is no new one, comes back.
inline void settle_replaced_run(const std::filesystem::path& directory) {
  std::error_code error;
  const auto checkpoint = newest_checkpoint(directory);
  const bool replaced = std::filesystem::exists(directory / "final", error) ||
                        (checkpoint && *checkpoint != detail::step_directory(directory, 0));
  for (const std::filesystem::path& half : detail::replaced_runs(directory, false))
    detail::put_back(half, directory);
  for (const std::filesystem::path& path : detail::replaced_runs(directory, true)) {
    if (!holds_run(directory)) {
      std::filesystem::path moving = path;  // so that a crash in the middle is made good, too
      moving += ".tmp";
      detail::rename_or_fail(path, moving);
      detail::put_back(moving, directory);
    } else if (replaced) {
      std::filesystem::remove_all(path, error);
    }
  }
}

/// Removes what a new run has made before its first step (and a checkpoint of step 0).
inline void remove_run_without_result(const std::filesystem::path& directory) {
  std::error_code ignored;
  std::filesystem::remove_all(detail::step_directory(directory, 0), ignored);
  for (const char* const name : {"log.jsonl", "log.csv", "evaluations.jsonl", "best"})
    std::filesystem::remove(directory / name, ignored);
  std::filesystem::remove_all(directory / detail::rehearsal_name, ignored);
}

/// Gives a new run up that was to replace another and ended, by force, without any checkpoint: the other
/// comes back.
inline void give_up_replacement(const std::filesystem::path& directory) {
  if (!holds_run_without_result(directory) || detail::replaced_runs(directory, true).empty()) return;
  remove_run_without_result(directory);
  settle_replaced_run(directory);
}

/// Makes good what crashes left in a run's directory.
inline void repair_run(const std::filesystem::path& directory) {
  settle_replaced_run(directory);
  clear_leftovers(directory, [](std::string_view name) {
    return name.starts_with("step-") || name == "final" || name == detail::rehearsal_name;
  });
}

/// Moves the run in `directory`, and nothing else, into a directory of its own there. Throws `Error` with all
/// of it back in its place.
inline void set_aside_run(const std::filesystem::path& directory) {
  const std::filesystem::path replaced = directory / ("replaced-" + random_token());
  std::filesystem::path moving = replaced;
  moving += ".tmp";
  if (::mkdir(moving.c_str(), 0777) != 0)
    fail("cannot create ", moving.string(), ": ", system_message(errno));
  try {
    for (const auto& [step, path] : step_directories(directory))
      detail::rename_or_fail(path, moving / path.filename());
    std::error_code error;
    for (const char* const name : detail::run_files)
      if (std::filesystem::exists(std::filesystem::symlink_status(directory / name, error)))
        detail::rename_or_fail(directory / name, moving / name);
    std::filesystem::remove_all(directory / detail::rehearsal_name, error);
    detail::rename_or_fail(moving, replaced);
  } catch (const Error&) {
    detail::put_back(moving, directory);
    throw;
  }
}

}  // namespace midus
