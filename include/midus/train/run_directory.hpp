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

/// The complete checkpoints of a run, by step, ascending.
inline std::vector<std::pair<Index, std::filesystem::path>> training_checkpoints(
    const std::filesystem::path& run) {
  std::vector<std::pair<Index, std::filesystem::path>> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-") || name.find_first_not_of("0123456789", 5) != name.npos ||
        name.size() > 20)
      continue;
    if (std::filesystem::exists(entry.path() / "trainer.json", error))
      found.emplace_back(std::stoll(name.substr(5)), entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// The newest complete checkpoint of a run, where there is one.
inline std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& run) {
  const auto all = training_checkpoints(run);
  return all.empty() ? std::nullopt : std::optional(all.back().second);
}

namespace detail {
/// What a run leaves in its directory beside its checkpoints.
inline constexpr std::array run_files{"log.jsonl", "log.csv", "evaluations.jsonl", "best", "final"};
}  // namespace detail

/// Whether a directory holds a run, or a part of one.
inline bool holds_run(const std::filesystem::path& directory) {
  std::error_code error;
  return newest_checkpoint(directory) ||
         std::any_of(std::begin(detail::run_files), std::end(detail::run_files), [&](const char* name) {
           return std::filesystem::exists(std::filesystem::symlink_status(directory / name, error));
         });
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

/// Removes a run, and nothing else, from its directory.
inline void remove_run(const std::filesystem::path& directory) {
  for (const auto& [step, path] : training_checkpoints(directory)) std::filesystem::remove_all(path);
  for (const char* const name : detail::run_files) std::filesystem::remove_all(directory / name);
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
