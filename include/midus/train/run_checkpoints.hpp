// The checkpoints of a training run: rehearsed before the first step, written, and removed.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "midus/train/beyond_memory.hpp"
#include "midus/train/checkpoint.hpp"
#include "midus/train/replaced_run.hpp"
#include "midus/train/run_evaluations.hpp"
#include "midus/train/step_log.hpp"

namespace midus {

/// When checkpoints are written, and which are kept.
struct CheckpointPlan {
  Index every = 0;       ///< steps; 0: by `minutes`
  double minutes = 30;   ///< where `every` is 0: at least so often; 0: only at the end, and when stopped
  Index keep_last = 2;   ///< at least one is
  Index keep_every = 0;  ///< also those whose step is a multiple; 0: none
};

/// What is no reason to end a run.
inline void warn(const std::string& what) { std::fprintf(stderr, "warning: %s\n", what.c_str()); }

/// Writes the checkpoints of a run, which hold where its trainer, its log and its evaluations stand.
template <class Model>
class RunCheckpoints {
  using Path = std::filesystem::path;

 public:
  /// `like`: the model that the run started from; `inputs`: what else it reads.
  RunCheckpoints(const Trainer<Model>& trainer, StepLog& log, RunEvaluations<Model>& evaluations,
                 Path directory, Like like, Json inputs, const CheckpointPlan& plan)
      : trainer_(trainer),
        log_(log),
        evaluations_(evaluations),
        directory_(std::move(directory)),
        like_(std::move(like)),
        inputs_(std::move(inputs)),
        plan_(plan) {}

  /// Whether the state as it is now has a checkpoint.
  bool written() const { return written_ == trainer_.state().step; }
  /// The run goes on from the checkpoint of the present step.
  void resumed() {
    written_ = trainer_.state().step;
    if (evaluations_.is_best() && written_ > 0) link_best();
  }
  Path path() const { return detail::step_directory(directory_, trainer_.state().step); }

  bool due() const {
    if (plan_.every > 0) return trainer_.state().step % plan_.every == 0;
    const std::chrono::duration<double> since = Clock::now() - last_;
    return plan_.minutes > 0 && since.count() >= 60 * plan_.minutes;
  }

  /// Writes what stands now, if that has not been done.
  void write() {
    if (written()) return;
    write_beside_older();
    remove_older();
  }
  /// After an error, whose cause may be in what stands: the checkpoints before it stay.
  void write_beside_older() {
    if (written()) return;
    log_.sync();
    evaluations_.log().sync();
    save_checkpoint(trainer_, directory_, lengths(), evaluations_.best(), like_, inputs_);
    for (const DataSource& source : trainer_.batches().sources())
      if (source.file.changed())
        warn(text(source.file.path().string(), " has been changed since the run began: ", path().string(),
                  " can go on only with the file as it was"));
    written_ = trainer_.state().step;
    last_ = Clock::now();
    if (evaluations_.is_best() && written_ > 0) link_best();  // before what it led to goes
    tidy();
  }

  /// After an evaluation: writes down what came of it, in the checkpoint of this step where there is one; the
  /// best model gets one.
  void note_evaluation() {
    const bool best = evaluations_.is_best() && trainer_.state().step > 0;
    if (!written() && !best) return;
    if (written()) {
      evaluations_.log().sync();
      update_checkpoint(trainer_, directory_, lengths(), evaluations_.best(), inputs_);
    }
    write();
    if (best) link_best();
    tidy();
    remove_older();
  }

 private:
  using Clock = std::chrono::steady_clock;

  LogLengths lengths() const { return {log_.length(), evaluations_.log().length()}; }

  void link_best() const {
    const Path temporary = directory_ / "best.tmp";
    std::error_code error, ignored;
    std::filesystem::remove(temporary, ignored);
    std::filesystem::create_directory_symlink(path().filename(), temporary, error);
    if (!error) std::filesystem::rename(temporary, directory_ / "best", error);
    if (error) warn(text("cannot link ", (directory_ / "best").string(), ": ", error.message()));
  }

  /// What the new checkpoint takes the place of goes only now, when that is on disk: what a crash left of
  /// one, the rehearsal, the run that this one replaces, and older ones.
  void tidy() const {
    std::error_code error;
    std::filesystem::remove_all(directory_ / detail::rehearsal_name, error);
    repair_run(directory_);
  }
  void remove_older() const {
    std::error_code error;
    const auto all = training_checkpoints(directory_);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto& [step, path] = all[i];
      const bool last = static_cast<Index>(all.size() - i) <= std::max<Index>(plan_.keep_last, 1);
      const bool nth = plan_.keep_every > 0 && step % plan_.keep_every == 0;
      const bool best = evaluations_.best() && evaluations_.best()->step == step;
      if (last || nth || best) continue;
      std::filesystem::remove_all(path, error);
      if (error) warn(text("cannot remove ", path.string(), ": ", error.message()));
    }
  }

  const Trainer<Model>& trainer_;
  StepLog& log_;
  RunEvaluations<Model>& evaluations_;
  Path directory_;
  Like like_;
  Json inputs_;
  CheckpointPlan plan_;
  Index written_ = -1;  ///< the last step that has a checkpoint
  Clock::time_point last_ = Clock::now();
};

/// The bytes that a checkpoint takes (its weights and moments), and its largest file.
struct CheckpointSize {
  double all = 0, largest_file = 0;
};
template <class Model>
CheckpointSize checkpoint_size(const Trainer<Model>& trainer) {
  using S = typename Model::Scalar;
  double weights = 0, moments = 0;
  trainer.model().visit([&](const auto&, const auto& parameter) {
    weights += sizeof(S) * static_cast<double>(parameter.shape.size());
  });
  trainer.optimizer().visit([&](const auto&, const auto& m, const auto&) {
    moments += 2 * sizeof(S) * static_cast<double>(m.size());
  });
  return {weights + moments, std::max(std::min(weights, double{default_shard_bytes}), moments)};
}

/// Why no checkpoint of this size could be written into a directory, as a sentence; "" where one could be.
inline std::string why_no_room(const std::filesystem::path& directory, const CheckpointSize& size) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      static_cast<double>(limit.rlim_cur) < size.largest_file)
    return text("a checkpoint has a file of ", memory_text(size.largest_file),
                ", and no file may have more than ", memory_text(static_cast<double>(limit.rlim_cur)),
                " (ulimit -f)");
  struct statvfs system {};
  if (::statvfs(directory.c_str(), &system) != 0 || system.f_blocks == 0) return "";
  const double free = static_cast<double>(system.f_bavail) * static_cast<double>(system.f_frsize);
  if (free >= size.all) return "";
  return text("a checkpoint takes ", memory_text(size.all), ", and ", memory_text(free), " are free in ",
              directory.string());
}

/// Does before the first step what would otherwise be done for the first time when there is something to
/// lose: writes a checkpoint without weights and moments into RUN/rehearsal, and makes sure that there is
/// room for those. It also reads the data and the program once, to hash them. Throws `Error` where a
/// checkpoint could not be written.
template <class Model>
void rehearse_checkpoint(const Trainer<Model>& trainer, const std::filesystem::path& run, const Like& like,
                         const Json& inputs) {
  if (const std::string reason = why_no_room(run, checkpoint_size(trainer)); !reason.empty()) fail(reason);
  AtomicDirectory rehearsal(run / detail::rehearsal_name, true);
  // The logs, and what else may be open when a checkpoint is written, beside what is open here.
  std::array<FileDescriptor, 4> others;
  for (FileDescriptor& other : others) {
    other = FileDescriptor(::open(run.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!other) fail("a run has more files open than it may have here (ulimit -n): ", system_message(errno));
  }
  write_llama_config(config_of(trainer.model(), like), rehearsal.path());
  like.write_other_files(rehearsal.path());
  write_file(rehearsal.path() / "trainer.json", detail::trainer_text(trainer, {}, std::nullopt, inputs));
  rehearsal.commit();
}

}  // namespace midus
