// The directory of a training run: what lies in it, and who may write to it.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/atomic_directory.hpp"
#include "midus/io/atomic_file.hpp"

namespace midus {

namespace detail {
/// What a run leaves in its directory beside its checkpoints.
inline constexpr std::array run_files{"log.jsonl", "log.csv", "evaluations.jsonl", "best", "final"};
/// A checkpoint without weights and moments, which a run writes before its first step to see that it can; it
/// goes when the first checkpoint is there.
inline constexpr const char* rehearsal_name = "rehearsal";

/// Whether a name is step-N.
inline bool is_step_name(const std::string& name) {
  return name.starts_with("step-") && name.size() > 5 && name.size() <= 20 &&
         name.find_first_not_of("0123456789", 5) == name.npos;
}

inline std::filesystem::path step_directory(const std::filesystem::path& run, Index step) {
  std::string digits = std::to_string(step);
  digits.insert(0, digits.size() < 8 ? 8 - digits.size() : 0, '0');
  return run / ("step-" + digits);
}
}  // namespace detail

/// The directories RUN/step-N by step, ascending, complete checkpoints or not.
inline std::vector<std::pair<Index, std::filesystem::path>> step_directories(
    const std::filesystem::path& run) {
  std::vector<std::pair<Index, std::filesystem::path>> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(run, error), last; !error && entry != last;
       entry.increment(error))
    if (const std::string name = entry->path().filename().string(); detail::is_step_name(name))
      found.emplace_back(std::stoll(name.substr(5)), entry->path());
  std::sort(found.begin(), found.end());
  return found;
}

/// Whether RUN/step-N is a complete checkpoint.
inline bool is_checkpoint(const std::filesystem::path& step) {
  std::error_code error;
  return std::filesystem::exists(step / "trainer.json", error);
}

/// The complete checkpoints of a run, by step, ascending.
inline std::vector<std::pair<Index, std::filesystem::path>> training_checkpoints(
    const std::filesystem::path& run) {
  auto found = step_directories(run);
  std::erase_if(found, [](const auto& step) { return !is_checkpoint(step.second); });
  return found;
}

/// The newest complete checkpoint of a run, where there is one.
inline std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& run) {
  const auto all = training_checkpoints(run);
  return all.empty() ? std::nullopt : std::optional(all.back().second);
}

/// Whether a directory holds a run, or a part of one.
inline bool holds_run(const std::filesystem::path& directory) {
  const auto there = [&](const char* name) {
    std::error_code error;
    return std::filesystem::exists(std::filesystem::symlink_status(directory / name, error));
  };
  return !step_directories(directory).empty() || there(detail::rehearsal_name) ||
         std::any_of(std::begin(detail::run_files), std::end(detail::run_files), there);
}

/// Whether a directory holds a run that ended before its first checkpoint: nothing is lost where it starts
/// again.
inline bool holds_run_without_result(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::exists(directory / detail::rehearsal_name, error) &&
         step_directories(directory).empty() && !std::filesystem::exists(directory / "final", error);
}

/// Why a run must not be started in `directory` by someone who wants to go on with what is there, as a
/// sentence; "" where there is nothing to go on with and nothing to lose, or a checkpoint.
inline std::string why_not_resume(const std::filesystem::path& directory) {
  if (newest_checkpoint(directory) || !holds_run(directory) || holds_run_without_result(directory)) return "";
  const auto steps = step_directories(directory);
  std::error_code error;
  const std::string what = !steps.empty() ? steps.back().second.string() +
                                                " has no trainer.json, so it is half a checkpoint, and " +
                                                directory.string() + " holds no whole one"
                           : std::filesystem::exists(directory / "final", error)
                               ? directory.string() + " holds the result of a run (" +
                                     (directory / "final").string() + ") and no checkpoint"
                               : directory.string() + " holds the logs of a run and no checkpoint";
  return what +
         " to go on from: bring one back, choose another directory, or replace what is there with --force";
}

/// Throws `Error` where a directory is a run and no model: it says which of the run's models to name.
inline void refuse_run(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::exists(path / "config.json", error)) return;
  const auto newest = newest_checkpoint(path);
  const bool final = std::filesystem::exists(path / "final" / "config.json", error);
  if (!newest && !final) return;
  fail(path.string(),
       " holds a training run; name a model in it: ", final ? (path / "final").string() : newest->string(),
       final && newest ? ", or a checkpoint such as " + newest->string() : "");
}

/// Whether `path` is `directory` or lies somewhere in it, links followed; not where `path` is empty.
inline bool lies_in(const std::filesystem::path& path, const std::filesystem::path& directory) {
  if (path.empty()) return false;
  const std::filesystem::path inner = resolved(path), outer = resolved(directory);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

/// While it lives, no other process may train into the directory.
class RunLock {
 public:
  /// Throws `Error` where another process trains into it. Where the file system has no locks, `warning()`
  /// says so: then it is for the user to see to that.
  explicit RunLock(const std::filesystem::path& directory) : lock_(directory) {
    if (lock_.taken())
      fail(directory.string(),
           ": another process trains into this directory; wait for it, or choose another");
    if (!lock_.held())
      warning_ = text("cannot lock ", directory.string(), " (", lock_.reason(),
                      "): nothing keeps another process from training into it too");
  }
  /// "" where the directory is locked.
  const std::string& warning() const { return warning_; }

 private:
  DirectoryLock lock_;
  std::string warning_;
};

}  // namespace midus
