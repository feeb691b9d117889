// What this process may use of its machine, and what memory it has.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <thread>

#include "midus/core/shape.hpp"

namespace midus {

namespace detail {

/// Calls f(folder) for the folders in which the limits stand of this process's control group and of those
/// around it (a container's, a job's, a systemd unit's). Of version 1 each kind ("memory") has folders of its
/// own. `root`: where proc and sys are.
template <class F>
void for_control_groups(const std::string& root, const std::string& kind, F&& f) {
  const std::string unified = root + "/sys/fs/cgroup", own = unified + "/" + kind;
  f(unified);
  f(own);
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b", or "7:cpu,memory:/a/b" of version 1
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) continue;
    std::string kinds(",");
    kinds.append(line, first + 1, second - first - 1).append(",");
    if (kinds != ",," && kinds.find("," + kind + ",") == kinds.npos) continue;
    for (std::string group = line.substr(second + 1); group.size() > 1;) {
      f((kinds == ",," ? unified : own) + group);
      const std::size_t above = group.rfind('/');
      group.resize(above == group.npos ? 0 : above);
    }
  }
}

/// A number of bytes that /proc/self/status has; 0 where the system does not say. Allocates nothing.
inline Index status_bytes(std::string_view field) {
  const int file = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char content[4096];
  const ::ssize_t size = ::read(file, content, sizeof content);
  ::close(file);
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

/// The processors that the quotas of the process's control groups allow (version 2; version 1 has no such
/// file); infinite where none has one. `root`: where proc and sys are.
inline double control_group_processors(const std::string& root = "") {
  double processors = std::numeric_limits<double>::infinity();
  detail::for_control_groups(root, "cpu", [&](const std::string& folder) {
    std::ifstream file(folder + "/cpu.max");  // "<microseconds> <period>", or "max <period>"
    double quota = 0, period = 0;
    if (file >> quota >> period && quota > 0 && period > 0) processors = std::min(processors, quota / period);
  });
  return processors;
}

/// The memory that the process's control groups allow, in bytes; infinite where none has a limit.
inline double control_group_memory(const std::string& root = "") {
  double limit = std::numeric_limits<double>::infinity();
  detail::for_control_groups(root, "memory", [&](const std::string& folder) {
    for (const char* const name : {"/memory.max", "/memory.limit_in_bytes"}) {
      std::ifstream file(folder + name);
      double bytes =
          0;  // version 2 says "max" where there is no limit, version 1 a number beyond any machine
      if (file >> bytes && bytes > 0) limit = std::min(limit, bytes);
    }
  });
  return limit;
}

/// The processors that this process may use, at least 1: those of its affinity mask, as far as its control
/// groups allow.
inline int available_processors() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
  count = static_cast<int>(std::min(static_cast<double>(count), std::max(1.0, control_group_processors())));
#endif
  return std::max(count, 1);
}

/// The memory that this process can have, in bytes: this machine's, or what its control groups allow; 0 where
/// the system does not say.
inline double machine_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return 0;
  return std::min(static_cast<double>(pages) * static_cast<double>(page), control_group_memory());
}

/// The most memory that this process has had so far, in bytes; 0 where the system does not say.
inline Index peak_memory_bytes() { return detail::status_bytes("VmHWM:"); }
/// The memory that this process has now, in bytes; 0 where the system does not say.
inline Index resident_memory_bytes() { return detail::status_bytes("VmRSS:"); }

}  // namespace midus
