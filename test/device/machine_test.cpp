#include "midus/device/machine.hpp"

#include <sched.h>

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;

namespace {

/// Puts what a control group says of itself.
struct ControlGroups {
  test::TemporaryDirectory folder;
  std::string root() const { return folder.path().string(); }
  void put(const std::string& name, const char* content) const {
    std::filesystem::create_directories((folder / name).parent_path());
    test::put_file(folder / name, content);
  }
};

}  // namespace

TEST_CASE("machine: the peak memory of the process grows with what it uses") {
  const Index before = peak_memory_bytes();
  CHECK(before > 1 << 20);
  CHECK(before < Index{1} << 40);
  std::vector<char> large(std::size_t{64} << 20);
  volatile char* const pages = large.data();  // volatile: the compiler may not leave the memory out
  for (std::size_t at = 0; at < large.size(); at += 1024) pages[at] = 1;
  CHECK(peak_memory_bytes() >= before);
  CHECK(peak_memory_bytes() > Index{64} << 20);
}

TEST_CASE("machine: a control group's limit of memory counts, in either version") {
  const ControlGroups groups;
  const auto limit = [&] { return control_group_memory(groups.root()); };
  CHECK(std::isinf(limit()));
  groups.put("proc/self/cgroup", "0::/a/b\n");
  groups.put("sys/fs/cgroup/a/b/memory.max", "max\n");
  CHECK(std::isinf(limit()));
  groups.put("sys/fs/cgroup/a/memory.max", "3000000\n");  // of the group around it
  CHECK(limit() == 3e6);
  groups.put("proc/self/cgroup", "12:cpu,cpuacct:/a\n7:hugetlb,memory:/job/1\n");
  CHECK(std::isinf(limit()));
  groups.put("sys/fs/cgroup/memory/job/1/memory.limit_in_bytes", "2000000\n");
  CHECK(limit() == 2e6);
  groups.put("sys/fs/cgroup/memory.max", "1000000\n");  // a container's
  CHECK(limit() == 1e6);
  groups.put("proc/self/cgroup", "0::no path\n");
  CHECK(limit() == 1e6);
}

TEST_CASE("machine: a control group's quota of processors counts, and those of the groups around it") {
  const ControlGroups groups;
  const auto processors = [&] { return control_group_processors(groups.root()); };
  CHECK(std::isinf(processors()));
  groups.put("proc/self/cgroup", "0::/a/b\n");
  groups.put("sys/fs/cgroup/cpu.max", "max 100000\n");
  CHECK(std::isinf(processors()));
  groups.put("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  CHECK(processors() == 1.5);
  groups.put("sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
  CHECK(processors() == 1.5);
  groups.put("sys/fs/cgroup/cpu.max", "50000 100000\n");  // a container's
  CHECK(processors() == 0.5);
}

TEST_CASE("machine: there are a processor and memory; a process that is kept on one processor has one") {
  CHECK(available_processors() >= 1);
  CHECK(machine_memory() > 1 << 20);
  int kept = 0;
  std::thread([&] {  // the mask is a thread's own
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &set);
    if (::sched_setaffinity(0, sizeof set, &set) == 0) kept = available_processors();
  })
      .join();
  CHECK(kept == 1);
}
