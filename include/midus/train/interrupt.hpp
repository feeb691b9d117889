// Ctrl-C and its like: finish the step, then stop.
#pragma once

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace midus {

/// While an object lives, signals that would end the program only set `requested()`: SIGINT (Ctrl-C) and
/// SIGTERM; SIGHUP (the terminal is gone), SIGUSR1, SIGUSR2 and SIGXCPU (a scheduler's announcement), SIGPIPE
/// (nobody reads what is printed any more). A second SIGINT or SIGTERM ends the program at once as if nobody
/// had caught it, unless it comes within a quarter of a second: `timeout` and schedulers send a signal to a
/// process and to its group. A file beyond its size limit is an error of the write (EFBIG), not the program's
/// end (SIGXFSZ). A signal that was ignored before (`nohup`, a job in the background) stays ignored. The old
/// handlers come back when the object goes; objects may be nested, and all of them see the same request.
///
///     const Interrupt interrupt;
///     while (!interrupt.requested()) step();
///     if (interrupt.requested()) return interrupt.exit_code();
class Interrupt {
 public:
  /// `notice` is written to standard error at the first signal; it outlives the object (a literal).
  explicit Interrupt(
      const char* notice = "\nStopping after this step; press Ctrl-C again to stop at once.\n") {
    if (live_++ == 0) signal_ = 0;
    notice_ = notice;
    struct sigaction action {};
    action.sa_flags = SA_RESTART;  // a write in progress goes on
    sigemptyset(&action.sa_mask);
    for (const int signal : signals) sigaddset(&action.sa_mask, signal);
    for (std::size_t i = 0; i < signals.size(); ++i) {
      // A handler and not SIG_IGN, which the programs that this one starts would inherit.
      action.sa_handler = signals[i] == SIGXFSZ ? [](int) {} : handle;
      sigaction(signals[i], nullptr, &old_[i]);
      if (old_[i].sa_handler != SIG_IGN) sigaction(signals[i], &action, nullptr);
    }
  }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt() {
    for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &old_[i], nullptr);
    --live_;
  }

  /// Whether a signal has come.
  bool requested() const { return signal() != 0; }
  /// Which one, or 0. SIGINT or SIGTERM where one of them has come.
  int signal() const { return signal_.load(std::memory_order_relaxed); }
  /// What a shell expects of a program that a signal has ended.
  int exit_code() const { return requested() ? 128 + signal() : 0; }

 private:
  static constexpr std::array signals{SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGPIPE, SIGXFSZ};
  static constexpr bool insists(int signal) { return signal == SIGINT || signal == SIGTERM; }

  static std::int64_t milliseconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
  }

  static void handle(int signal) {  // only what is allowed inside a handler
    const int before = signal_.load();
    if (before == 0 || (insists(signal) && !insists(before))) {
      asked_at_ = milliseconds();
      signal_ = signal;
      const int error = errno;
      const char* const notice = notice_;
      if (before == 0 && notice != nullptr && ::write(STDERR_FILENO, notice, std::strlen(notice)) < 0) {
        // Nobody reads it: the request stands all the same.
      }
      errno = error;
      return;
    }
    if (!insists(signal) || milliseconds() - asked_at_ < 250) return;
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
    raise(signal);  // delivered when the handler returns
  }

  inline static std::atomic<int> live_{0}, signal_{0};
  inline static std::atomic<std::int64_t> asked_at_{0};
  inline static std::atomic<const char*> notice_{nullptr};
  static_assert(std::atomic<int>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free &&
                    std::atomic<const char*>::is_always_lock_free,
                "Interrupt: a signal handler may touch lock-free atomics only");

  struct sigaction old_[signals.size()]{};
};

}  // namespace midus
