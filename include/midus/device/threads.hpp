// A pool of threads that take tiles of work.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"

namespace midus {

/// Threads that wait for work. `parallel_for` cuts nothing by itself: the caller chooses tasks by the shape
/// of the work alone, each task owns what it writes, so the result has the same bits for any number of
/// threads. Each thread begins with its own stretch of the tasks, and then helps the others with theirs: what
/// lies at the same place in the next op finds the same thread's cache.
class ThreadPool {
 public:
  /// `threads` in all, the calling one included. Throws `Error` where the system does not give so many.
  explicit ThreadPool(int threads) : stretches_(static_cast<std::size_t>(std::max(1, threads))) {
    try {
      for (int worker = 1; worker < threads; ++worker)
        workers_.emplace_back([this, worker] { serve(worker); });
    } catch (const std::system_error& error) {
      const int started = size();
      stop();  // those that wait already
      fail("ThreadPool: ", threads, " threads wanted, the system gives ", started, " (",
           error.code().message(), "); ask for fewer, or raise the limit on processes");
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() { stop(); }

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls `f(task, worker)` once for every task in 0 ... tasks - 1, worker in 0 ... size() - 1, and returns
  /// when all are done. Of what tasks throw, the exception of the lowest task is thrown on. A call from
  /// inside a task runs its tasks one after the other on the same worker. Throws `Error` where another thread
  /// of the program is in here.
  template <class F>
  void parallel_for(Index tasks, F&& f) {
    if (tasks <= 0) return;
    const int nested = current_.pool == this ? current_.worker : -1;
    const InUse in_use(*this, nested < 0);
    if (nested >= 0 || tasks == 1 || workers_.empty()) {
      const Inside inside(this, nested >= 0 ? nested : 0);
      for (Index task = 0; task < tasks; ++task) f(task, current_.worker);
      return;
    }
    job_ = {[](void* context, Index task, int worker) {
              (*static_cast<std::remove_reference_t<F>*>(context))(task, worker);
            },
            const_cast<void*>(static_cast<const void*>(&f))};
    const auto count = static_cast<Index>(stretches_.size());
    for (Index i = 0, begin = 0; i < count; ++i) {
      Stretch& stretch = stretches_[static_cast<std::size_t>(i)];
      stretch.next.store(begin, std::memory_order_relaxed);
      stretch.end = begin += tasks / count + (i < tasks % count ? 1 : 0);
    }
    generation_ = (generation_ + generation_step) & ~(open | active_mask | stopped);
    state_.store(generation_ | open, std::memory_order_release);
    state_.notify_all();
    work(0);
    // Closed: a worker that wakes only now finds nothing to join, and nobody waits for it.
    std::uint32_t state = state_.fetch_and(~open, std::memory_order_acq_rel) & ~open;
    for (int spin = 0; (state & active_mask) != 0; state = state_.load(std::memory_order_acquire))
      if (++spin < spins)
        pause();
      else
        state_.wait(state, std::memory_order_acquire);
    if (error_) {
      error_task_ = no_task;
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
  }

 private:
  struct Job {
    void (*call)(void*, Index, int) = nullptr;
    void* context = nullptr;
  };
  /// The tasks that one thread begins with: those before `next` are taken.
  struct alignas(64) Stretch {
    std::atomic<Index> next{0};
    Index end = 0;
  };
  struct Current {
    ThreadPool* pool;
    int worker;
  };
  /// While it lives, this thread works on a task of `pool`.
  class Inside {
   public:
    Inside(ThreadPool* pool, int worker) : before_(current_) { current_ = {pool, worker}; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    ~Inside() { current_ = before_; }

   private:
    Current before_;
  };

  /// While it lives, no other thread of the program may bring work.
  class InUse {
   public:
    InUse(ThreadPool& pool, bool outermost) : pool_(outermost ? &pool : nullptr) {
      if (outermost && pool.in_use_.exchange(true, std::memory_order_acquire))
        fail(
            "two threads of the program use one device at once: give each a device of its own, or let one "
            "wait for the other");
    }
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;
    ~InUse() {
      if (pool_ != nullptr) pool_->in_use_.store(false, std::memory_order_release);
    }

   private:
    ThreadPool* pool_;
  };

  // The state word: how many workers are at the job, whether more may join, whether to stop, and the job's
  // number.
  static constexpr std::uint32_t active_mask = 0x3ff, open = 0x400, stopped = 0x800, generation_step = 0x1000;
  static constexpr int spins = 4000;  // some tens of microseconds: the gap between two ops of a step
  static constexpr Index no_task = INT64_MAX;

  void stop() {
    state_.store(stopped, std::memory_order_release);
    state_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  void serve(int worker) {
    std::uint32_t last = 0;  // the job that this worker has seen the end of
    for (int spin = 0;;) {
      std::uint32_t state = state_.load(std::memory_order_acquire);
      if (state & stopped) return;
      if (!(state & open) || (state & ~(open | active_mask)) == last) {
        if (++spin < spins)
          pause();
        else
          state_.wait(state, std::memory_order_acquire);
        continue;
      }
      if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
      spin = 0;
      last = state & ~(open | active_mask);
      work(worker);
      if ((state_.fetch_sub(1, std::memory_order_acq_rel) & (open | active_mask)) == 1) state_.notify_all();
    }
  }

  void work(int worker) {
    const Inside inside(this, worker);
    const std::size_t count = stretches_.size(), own = static_cast<std::size_t>(worker);
    for (std::size_t i = 0; i < count; ++i) {
      Stretch& stretch = stretches_[(own + i) % count];
      for (Index task; (task = stretch.next.fetch_add(1, std::memory_order_relaxed)) < stretch.end;)
        run(task, worker);
    }
  }

  void run(Index task, int worker) {
    try {
      job_.call(job_.context, task, worker);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (task < error_task_) {
        error_task_ = task;
        error_ = std::current_exception();
      }
    }
  }

  inline static thread_local Current current_{nullptr, 0};

  std::vector<Stretch> stretches_;
  std::vector<std::thread> workers_;
  Job job_;
  std::uint32_t generation_ = 0;
  alignas(64) std::atomic<std::uint32_t> state_{0};
  std::atomic<bool> in_use_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
  Index error_task_ = no_task;
};

}  // namespace midus
