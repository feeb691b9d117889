#include "midus/train/interrupt.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "support/catch.hpp"

using midus::Interrupt;

namespace {

int old_handler_calls = 0;
void old_handler(int) { ++old_handler_calls; }

/// Runs `f` in a child process and returns how that ended: 256 + signal, or the exit status.
template <class F>
int in_child(F&& f) {
  const pid_t child = fork();
  if (child == 0) {
    // Catch's own handlers would write a report of the child's death.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    std::signal(SIGHUP, SIG_DFL);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("Interrupt: the first signal is a request, and the old handler comes back") {
  const auto before_int = std::signal(SIGINT, old_handler);
  const auto before_term = std::signal(SIGTERM, old_handler);
  old_handler_calls = 0;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const Interrupt interrupt(nullptr);
    CHECK_FALSE(interrupt.requested());
    CHECK(interrupt.exit_code() == 0);
    std::raise(signal);
    CHECK(interrupt.requested());
    CHECK(interrupt.signal() == signal);
    CHECK(interrupt.exit_code() == 128 + signal);
    {
      const Interrupt inner(nullptr);  // sees the same request
      CHECK(inner.requested());
    }
    CHECK(interrupt.requested());
  }
  CHECK(old_handler_calls == 0);
  std::raise(SIGINT);
  std::raise(SIGTERM);
  CHECK(old_handler_calls == 2);
  std::signal(SIGINT, before_int);
  std::signal(SIGTERM, before_term);
}

TEST_CASE("Interrupt: the second signal ends the program") {
  for (const int second : {SIGINT, SIGTERM, SIGHUP})
    CHECK(in_child([&] {
            const Interrupt interrupt(nullptr);
            std::raise(SIGINT);
            if (!interrupt.requested()) _exit(3);
            std::raise(second);
            _exit(4);
          }) == 256 + second);
}

TEST_CASE("Interrupt: an ignored signal stays ignored") {
  CHECK(in_child([] {
          for (const int ignored : {SIGINT, SIGHUP}) std::signal(ignored, SIG_IGN);
          const Interrupt interrupt(nullptr);
          for (const int ignored : {SIGINT, SIGHUP}) std::raise(ignored);
          if (interrupt.requested()) _exit(3);
          std::raise(SIGTERM);
          _exit(interrupt.signal() == SIGTERM ? 7 : 8);
        }) == 7);
}
