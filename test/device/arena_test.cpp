#include "midus/device/arena.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include "midus/device/cpu.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

namespace midus {
namespace {

TEST_CASE("arena: aligned, apart, and given back by scopes") {
  Arena arena;
  auto* const a = static_cast<char*>(arena.allocate(1));
  auto* const b = static_cast<char*>(arena.allocate(100));
  CHECK(reinterpret_cast<std::uintptr_t>(a) % Arena::alignment == 0);
  CHECK(b - a == 64);
  CHECK(arena.used() == 64 + 128);
  {
    const Arena::Scope outer(arena);
    void* const c = arena.allocate(1000);
    {
      const Arena::Scope inner(arena);
      std::memset(arena.allocate(std::size_t{5} << 20), 1, std::size_t{5} << 20);
    }
    CHECK(arena.allocate(1) == static_cast<char*>(c) + 1024);
  }
  CHECK(arena.used() == 192);
  CHECK(arena.peak() == 192 + 1024 + (std::size_t{5} << 20));
  arena.reset_peak();
  CHECK(arena.peak() == 192);
}

TEST_CASE("arena: what was handed out does not move as it grows") {
  Arena arena;
  auto* const first = static_cast<int*>(arena.allocate(sizeof(int)));
  *first = 42;
  for (int i = 0; i < 20; ++i) std::memset(arena.allocate(std::size_t{1} << 20), i, std::size_t{1} << 20);
  CHECK(*first == 42);
  Arena moved(std::move(arena));
  CHECK(*first == 42);
  CHECK(moved.used() == 64 + (std::size_t{20} << 20));
}

TEST_CASE("arena: dry allocations are counted, beyond any real memory") {
  Arena arena;
  arena.set_dry(true);
  {
    const Arena::Scope scope(arena);
    CHECK(arena.allocate(std::size_t{1} << 35) != nullptr);
  }
  arena.set_dry(false);
  CHECK(arena.peak() == std::size_t{1} << 35);
  CHECK(arena.used() == 0);
  *static_cast<int*>(arena.allocate(4)) = 1;
  Arena small(std::size_t{1} << 28);
  small.set_dry(true);
  CHECK(small.allocate(std::size_t{1} << 42) !=
        nullptr);  // nor is it bounded by the addresses that were reserved
  CHECK_THROWS_AS(small.allocate(~std::size_t{0}), Error);
}

TEST_CASE("arena: a limit is an error that says how much is left, and nothing is lost") {
  Arena arena(std::size_t{1} << 28);
  arena.allocate(64);
  CHECK_THROWS_AS(arena.allocate(std::size_t{1} << 28), Error);
  CHECK_THROWS_WITH(arena.allocate(std::size_t{1} << 29), Catch::Contains("536870912 bytes wanted"));
  CHECK(arena.used() == 64);
  arena.allocate((std::size_t{1} << 28) - 64);
}

TEST_CASE("arena: a request near the largest number is refused, not wrapped around") {
  Arena arena(std::size_t{1} << 28);
  CHECK_THROWS_AS(arena.allocate(~std::size_t{0}), Error);
  CHECK_THROWS_AS(arena.allocate(~std::size_t{0} - 100), Error);
}

// Grid engines limit the addresses of a process (ulimit -v).
TEST_CASE(
    "arena: devices start under a limit on addresses, with any number of threads, and leave half of it") {
  if (MIDUS_SANITIZED) return;  // which reserve terabytes themselves
  const auto starts = [](std::size_t limit, int threads) {
    const pid_t child = fork();
    if (child == 0) {
      std::size_t pages = 0;
      std::ifstream("/proc/self/statm") >> pages;
      const rlimit all{pages * 4096 + limit, RLIM_INFINITY};
      if (setrlimit(RLIMIT_AS, &all) != 0) _exit(3);
      try {
        Cpu<float> device(threads);
        const auto x = device.allocate(Shape{Index{1} << 20});
        device.fill(x, 1.0f);
        device.parallel_for(4 * threads, [](Index, Arena& scratch) { take<float>(scratch, 1 << 16)[0] = 1; });
        const std::size_t stacks = static_cast<std::size_t>(threads) * (std::size_t{9} << 20);
        if (addresses_left() < (limit - stacks) * 2 / 5) _exit(4);
        _exit(device.sum(x) == 0x1p20 ? 0 : 5);
      } catch (const Error& error) {
        _exit(std::string(error.what()).find("ulimit -v") == std::string::npos ? 6 : 1);
      } catch (...) {
        _exit(7);
      }
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  for (const std::size_t gigabytes : {4u, 64u, 128u, 512u, 1200u, 2048u})
    for (const int threads : {1, 4, 16, 64}) {
      INFO(gigabytes << " GB, " << threads << " threads");
      CHECK(starts(gigabytes << 30, threads) == 0);
    }
  CHECK(starts(std::size_t{2} << 20, 1) == 1);  // too little for anything: the limit is named
}

}  // namespace
}  // namespace midus
