// Ctrl-C: finish the step, then stop.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace midus {

/// While an object lives, the first SIGINT (Ctrl-C), SIGTERM, or SIGHUP (the terminal is gone) only sets
/// `requested()`, and a second one, of any kind, ends the program at once as if nobody had caught it. A
/// signal that was ignored before (`nohup`, a job in the background) stays ignored. The old handlers come
/// back when the object goes; objects may be nested, and all of them see the same request.
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
    action.sa_handler = handle;
    action.sa_flags = SA_RESTART;  // a write in progress goes on
    sigemptyset(&action.sa_mask);
    for (const int signal : signals) sigaddset(&action.sa_mask, signal);
    for (std::size_t i = 0; i < signals.size(); ++i) {
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
  bool requested() const { return signal_.load(std::memory_order_relaxed) != 0; }
  /// Which one: SIGINT, SIGTERM, SIGHUP, or 0.
  int signal() const { return signal_.load(std::memory_order_relaxed); }
  /// What a shell expects of a program that a signal has ended.
  int exit_code() const { return requested() ? 128 + signal() : 0; }

 private:
  static constexpr std::array signals{SIGINT, SIGTERM, SIGHUP};

  static void handle(int signal) {  // only what is allowed inside a handler
    int none = 0;
    if (signal_.compare_exchange_strong(none, signal)) {
      const int error = errno;
      const char* const notice = notice_;
      if (notice != nullptr && ::write(STDERR_FILENO, notice, std::strlen(notice)) < 0) {
        // Nobody reads it: the request stands all the same.
      }
      errno = error;
      return;
    }
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
    raise(signal);  // delivered when the handler returns
  }

  inline static std::atomic<int> live_{0}, signal_{0};
  inline static std::atomic<const char*> notice_{nullptr};
  static_assert(std::atomic<int>::is_always_lock_free && std::atomic<const char*>::is_always_lock_free,
                "Interrupt: a signal handler may touch lock-free atomics only");

  struct sigaction old_[signals.size()]{};
};

}  // namespace midus
