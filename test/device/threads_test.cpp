#include "midus/device/threads.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <stdexcept>
#include <string>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

namespace midus {
namespace {

/// Whether `f` is true in a process of its own, which may limit itself.
template <class F>
bool holds_in_child(F&& f) {
  const ::pid_t child = ::fork();
  if (child == 0) ::_exit(f() ? 0 : 1);
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#if !MIDUS_SANITIZED
TEST_CASE("threads: more than the system gives are an error, and those that started are gone") {
  CHECK(holds_in_child([] {
    Index pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const auto bytes = static_cast<::rlim_t>(pages * ::sysconf(_SC_PAGESIZE)) + (::rlim_t{128} << 20);
    const ::rlimit limit{bytes, bytes};  // room for the stacks of a few
    if (::setrlimit(RLIMIT_AS, &limit) != 0) return false;
    try {
      ThreadPool pool(400);
    } catch (const Error& error) {
      return std::string(error.what()).find("400 threads wanted, the system gives ") != std::string::npos;
    }
    return false;
  }));
}
#endif

TEST_CASE("threads: every task runs once, for any number of threads and tasks") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (const Index tasks : {Index{0}, Index{1}, Index{2}, Index{7}, Index{1000}}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      std::atomic<int> bad_workers{0};
      pool.parallel_for(tasks, [&](Index task, int worker) {
        ++runs[static_cast<std::size_t>(task)];
        if (worker < 0 || worker >= threads) ++bad_workers;
      });
      CHECK(bad_workers == 0);
      for (const auto& count : runs) REQUIRE(count == 1);
    }
  }
}

TEST_CASE("threads: each begins with its own stretch of the tasks, and one that is done helps the other") {
  ThreadPool pool(2);
  std::atomic<int> begun{0};
  std::array<std::atomic<int>, 6> worker_of{};
  pool.parallel_for(6, [&](Index task, int worker) {
    worker_of[static_cast<std::size_t>(task)] = worker;
    if (task == 0 || task == 3) {  // the first ones wait for each other
      ++begun;
      while (begun < 2) std::this_thread::yield();
    }
    if (task == 0)  // until the other thread has done all the rest
      while (begun < 6) std::this_thread::yield();
    else if (task != 3)
      ++begun;
  });
  CHECK(worker_of[0] != worker_of[3]);
  for (const std::size_t task : {1U, 2U, 4U, 5U}) CHECK(worker_of[task] == worker_of[3]);
}

TEST_CASE("threads: many short jobs one after the other") {
  ThreadPool pool(4);
  std::atomic<Index> sum{0};
  for (int job = 0; job < 5000; ++job) pool.parallel_for(3, [&](Index task, int) { sum += task + 1; });
  CHECK(sum == 30000);
}

TEST_CASE("threads: a worker runs one task at a time") {
  ThreadPool pool(3);
  std::array<std::atomic<int>, 3> busy{};
  std::atomic<int> overlaps{0};
  pool.parallel_for(500, [&](Index, int worker) {
    auto& mine = busy[static_cast<std::size_t>(worker)];
    if (mine.fetch_add(1) != 0) ++overlaps;
    mine.fetch_sub(1);
  });
  CHECK(overlaps == 0);
}

TEST_CASE("threads: of the exceptions the lowest task's arrives, and the pool goes on") {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int attempt = 0; attempt < 50; ++attempt) {
      std::string caught;
      try {
        pool.parallel_for(40, [](Index task, int) {
          if (task % 10 == 3) throw std::runtime_error("task " + std::to_string(task));
        });
      } catch (const std::runtime_error& error) {
        caught = error.what();
      }
      CHECK(caught == "task 3");
      std::atomic<int> runs{0};
      pool.parallel_for(20, [&](Index, int) { ++runs; });
      CHECK(runs == 20);
    }
  }
}

TEST_CASE("threads: a call from inside a task runs in place, on the same worker") {
  ThreadPool pool(3);
  std::atomic<int> runs{0}, others{0};
  pool.parallel_for(10, [&](Index, int worker) {
    pool.parallel_for(5, [&](Index, int inner) {
      ++runs;
      if (inner != worker) ++others;
    });
  });
  CHECK(runs == 50);
  CHECK(others == 0);
}

TEST_CASE("threads: two pools, one inside the other's task") {
  ThreadPool outer(2), inner(3);
  std::atomic<int> runs{0};
  outer.parallel_for(1, [&](Index, int) { inner.parallel_for(30, [&](Index, int) { ++runs; }); });
  CHECK(runs == 30);
}

}  // namespace
}  // namespace midus
