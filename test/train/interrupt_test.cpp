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
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGPIPE, SIGXFSZ})
      std::signal(signal, SIG_DFL);
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
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGPIPE}) {
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

TEST_CASE("Interrupt: a second SIGINT or SIGTERM ends the program, but not the same one delivered twice") {
  for (const int first : {SIGINT, SIGTERM})
    for (const int second : {SIGINT, SIGTERM})
      CHECK(in_child([&] {
              const Interrupt interrupt(nullptr);
              for (const int signal : {first, first, second}) std::raise(signal);  // `timeout` does that
              if (interrupt.signal() != first) _exit(3);
              for (;;) std::raise(second);  // somebody insists
            }) == 256 + second);
}

TEST_CASE("Interrupt: an announcement never ends the program, and what follows one is the request") {
  for (const int announced : {SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGPIPE})
    CHECK(in_child([&] {
            const Interrupt interrupt(nullptr);
            for (int i = 0; i < 3; ++i) std::raise(announced);
            if (interrupt.signal() != announced) _exit(3);
            std::raise(SIGTERM);
            std::raise(announced);
            _exit(interrupt.exit_code());
          }) == 128 + SIGTERM);
}

TEST_CASE("Interrupt: nobody reads any more, and a file may not grow: both are no end") {
  CHECK(in_child([] {
          int ends[2];
          if (::pipe(ends) != 0) _exit(3);
          ::close(ends[0]);
          ::dup2(ends[1], STDERR_FILENO);
          const Interrupt interrupt("said to nobody");
          std::raise(SIGINT);  // its notice raises SIGPIPE
          if (interrupt.signal() != SIGINT) _exit(4);
          std::raise(SIGXFSZ);
          _exit(interrupt.exit_code());
        }) == 128 + SIGINT);
  CHECK(in_child([] {
          int ends[2];
          if (::pipe(ends) != 0) _exit(3);
          ::close(ends[0]);
          const Interrupt interrupt(nullptr);
          if (::write(ends[1], "x", 1) != -1) _exit(4);
          _exit(interrupt.exit_code());
        }) == 128 + SIGPIPE);
}

TEST_CASE("Interrupt: an ignored signal stays ignored") {
  CHECK(in_child([] {
          for (const int ignored : {SIGINT, SIGHUP, SIGPIPE}) std::signal(ignored, SIG_IGN);
          const Interrupt interrupt(nullptr);
          for (const int ignored : {SIGINT, SIGHUP, SIGPIPE}) std::raise(ignored);
          if (interrupt.requested()) _exit(3);
          std::raise(SIGTERM);
          _exit(interrupt.signal() == SIGTERM ? 7 : 8);
        }) == 7);
}
