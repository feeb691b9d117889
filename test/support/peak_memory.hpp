// The memory that a piece of work takes, as the system counts it.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <string>

#include "midus/core/error.hpp"
#include "support/sanitizers.hpp"

namespace midus::test {

/// A line of /proc/self/status, "VmRSS" or "VmHWM", in bytes.
inline std::size_t memory_status(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1)) * 1024;
  fail("/proc/self/status has no ", name);
}

/// The most resident memory, mapped files included, that a child process has while it calls `f`, less what it
/// had before. Call it while the program has one thread.
template <class F>
std::size_t peak_memory_of(F&& f) {
  int ends[2];
  if (::pipe(ends) != 0) fail("cannot make a pipe");
  const ::pid_t child = ::fork();
  if (child == 0) {
    std::size_t peak = 0;
    try {
      std::ofstream("/proc/self/clear_refs") << 5 << std::flush;  // the peak begins anew
      const std::size_t before = memory_status("VmRSS");
      f();
      peak = memory_status("VmHWM") - before;
    } catch (...) {
    }
    const bool told = ::write(ends[1], &peak, sizeof peak) == sizeof peak;
    ::_exit(told ? 0 : 1);
  }
  ::close(ends[1]);
  std::size_t peak = 0;
  const bool told = child > 0 && ::read(ends[0], &peak, sizeof peak) == sizeof peak;
  ::close(ends[0]);
  if (child > 0) ::waitpid(child, nullptr, 0);
  if (!told || peak == 0) fail("the child process came to no end");
  return peak;
}

}  // namespace midus::test
