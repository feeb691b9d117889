#include "midus/device/threads.hpp"

#include <array>
#include <stdexcept>
#include <string>

#include "support/catch.hpp"

namespace midus {
namespace {

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

TEST_CASE("threads: there is a processor") { CHECK(available_processors() >= 1); }

}  // namespace
}  // namespace midus
