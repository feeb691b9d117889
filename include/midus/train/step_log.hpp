// What every training step did, in a file and on the console.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "midus/core/shape.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/train/line_log.hpp"
#include "midus/train/progress.hpp"
#include "midus/train/step_record.hpp"

namespace midus {

namespace detail {
/// A number of bytes that /proc/self/status has; 0 where the system does not say. Allocates nothing.
inline Index status_bytes(std::string_view field) {
  const FileDescriptor file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  if (!file) return 0;
  char content[4096];
  const ::ssize_t size = ::read(file.get(), content, sizeof content);
  std::string_view rest(content, size > 0 ? static_cast<std::size_t>(size) : 0);
  const std::size_t at = rest.find(field);
  if (at == rest.npos) return 0;
  Index kilobytes = 0;
  bool digits = false;
  for (const char c : rest.substr(at + field.size())) {
    if (c >= '0' && c <= '9') {
      kilobytes = kilobytes * 10 + (c - '0');
      digits = true;
    } else if (digits) {
      break;
    }
  }
  return kilobytes * 1024;
}
}  // namespace detail

/// The most memory that this process has had so far, in bytes; 0 where the system does not say.
inline Index peak_memory_bytes() { return detail::status_bytes("VmHWM:"); }
/// The memory that this process has now, in bytes; 0 where the system does not say.
inline Index resident_memory_bytes() { return detail::status_bytes("VmRSS:"); }

/// The memory that the process's control group and those around it (a container's, a job's) allow, in bytes;
/// infinite where none has a limit. `root`: where proc and sys are.
inline double control_group_memory(const std::string& root = "") {
  double limit = std::numeric_limits<double>::infinity();
  const auto read = [&](const std::string& group, const char* name) {
    std::ifstream file(root + "/sys/fs/cgroup" + group + "/" + name);
    double bytes = 0;  // version 2 says "max" where there is no limit, version 1 a number beyond any machine
    if (file >> bytes && bytes > 0) limit = std::min(limit, bytes);
  };
  read("", "memory.max");
  read("/memory", "memory.limit_in_bytes");
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b", or "7:cpu,memory:/a/b" of version 1
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string kinds = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool unified = kinds == ",,";
    if (!unified && kinds.find(",memory,") == kinds.npos) continue;
    for (std::string group = line.substr(second + 1); group.size() > 1; group.resize(group.rfind('/')))
      read(unified ? group : "/memory" + group, unified ? "memory.max" : "memory.limit_in_bytes");
  }
  return limit;
}

/// The memory that this process can have, in bytes: this machine's, or what its control group allows; 0 where
/// the system does not say.
inline double machine_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return 0;
  return std::min(static_cast<double>(pages) * static_cast<double>(page), control_group_memory());
}

/// 3 << 20 -> "3.0 MiB".
inline std::string memory_text(double bytes) {
  char out[48];
  std::snprintf(out, sizeof out, "%.1f MiB", bytes / (1024.0 * 1024.0));
  return out;
}

/// What to say of training that needs more memory than there is; empty where it fits, or nobody knows.
inline std::string beyond_memory(double needed, double available = machine_memory()) {
  if (available <= 0 || needed <= available) return "";
  return "more than the " + memory_text(available) +
         " of this machine: take a smaller batch, shorter windows or gradient checkpointing, or keep frozen "
         "weights as bfloat16";
}

/// The log of steps.
class StepLog : public LineLog {
 public:
  using LineLog::append;
  using LineLog::LineLog;
  /// Adds a step's line; allocates nothing.
  void append(const StepRecord& record) {
    StepLine line;
    append(line.format(record));
  }
};

/// The steps of a run on the console: "step 120/1000  loss 2.3456  rate 3.00e-03  10.7k tokens/s  38 % of
/// peak 3 min 20 s left". The time left is reckoned from the steps of this process but the first, which warms
/// up.
class StepProgress {
 public:
  explicit StepProgress(Index steps) : steps_(steps) {}
  /// On another stream; see `ProgressLine`.
  StepProgress(Index steps, std::FILE* out, bool terminal, double interval = -1)
      : steps_(steps), line_(out, terminal, interval) {}

  /// Call it after every step; it prints when a line is due, and after the last step.
  void show(const StepRecord& record) {
    const double now = line_.elapsed();
    if (first_step_ < 0) {
      first_step_ = record.step;
      first_at_ = now;
    }
    if (!line_.due() && record.step < steps_) return;
    double left = std::numeric_limits<double>::quiet_NaN();
    if (record.step > first_step_)
      left = (now - first_at_) / static_cast<double>(record.step - first_step_) *
             static_cast<double>(steps_ - record.step);
    char text[200];
    int used = std::snprintf(text, sizeof text, "step %lld/%lld  loss %.4f  rate %.2e  %s tokens/s",
                             static_cast<long long>(record.step), static_cast<long long>(steps_), record.loss,
                             record.learning_rate, count_text(record.tokens_per_s).c_str());
    const auto add = [&](const char* format, auto... values) {
      if (used >= 0 && used < static_cast<int>(sizeof text))
        used += std::snprintf(text + used, sizeof text - static_cast<std::size_t>(used), format, values...);
    };
    if (record.peak_share == record.peak_share) add("  %.0f %% of peak", 100 * record.peak_share);
    if (record.step < steps_) add("  %s left", duration_text(left).c_str());
    line_.show(text);
    if (record.step >= steps_) line_.end_line();
  }

  /// Call it after every batch of an evaluation, of which `done` of `all` are done: "evaluating new  34 %  1
  /// min 02 s left".
  void show_evaluation(std::string_view name, Index done, Index all) {
    const double now = line_.elapsed();
    if (done == 1) evaluation_at_ = now;
    if (done == 1 || done == all || !line_.due()) return;
    const double left =
        (now - evaluation_at_) / static_cast<double>(done - 1) * static_cast<double>(all - done);
    line_.show(text("evaluating ", name, "  ", 100 * done / all, " %  ", duration_text(left), " left"));
  }

  /// Before other text is printed.
  void end_line() { line_.end_line(); }

 private:
  Index steps_, first_step_ = -1;
  double first_at_ = 0, evaluation_at_ = 0;
  ProgressLine line_;
};

}  // namespace midus
