// The processor as a device: an arena, a pool of threads, and Eigen inside the tiles.
#pragma once

#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "midus/device/arena.hpp"
#include "midus/device/blas.hpp"
#include "midus/device/build.hpp"
#include "midus/device/device.hpp"
#include "midus/device/eigen.hpp"
#include "midus/device/machine.hpp"
#include "midus/device/threads.hpp"

namespace midus {

/// `count` elements of an arena: of a worker's scratch memory, for instance.
template <class T>
T* take(Arena& arena, Index count) {
  if (count < 0 || count > std::numeric_limits<Index>::max() / static_cast<Index>(sizeof(T)))
    fail("out of memory: ", count, " elements of ", sizeof(T), " bytes wanted");
  return static_cast<T*>(arena.allocate(static_cast<std::size_t>(count) * sizeof(T)));
}

/// Computes in `S` (float or double) on the threads of one pool. Must outlive the models that use it; used by
/// one thread of the program at a time, which is an `Error` where it is seen (several devices may be used at
/// once).
template <class S>
class Cpu {
  static_assert(std::is_same_v<S, float> || std::is_same_v<S, double>, "Cpu: the scalar is float or double");

 public:
  using Scalar = S;

  /// `threads` 0: as many as the process may use; who makes several devices divides the processors among
  /// them.
  explicit Cpu(int threads = 0) : pool_(std::make_unique<ThreadPool>(checked(threads))) {
    // Of a limited number of addresses half stays for weights and files.
    for (int worker = 0; worker < pool_->size(); ++worker)
      scratch_.emplace_back(std::size_t{1} << 36, static_cast<std::size_t>(4 * pool_->size()));
    blas_on_one_thread();
  }

  int threads() const { return pool_->size(); }

  /// Uninitialised memory that lives until the innermost enclosing `scope()` ends.
  template <int Rank>
  View<S, Rank> allocate(const Shape<Rank>& shape) {
    return allocate_as<S>(shape);
  }
  template <class T, int Rank>
  View<T, Rank> allocate_as(const Shape<Rank>& shape) {
    static_assert(std::is_trivially_copyable_v<T>);
    return {take<T>(arena_, checked_size(shape)), shape};
  }
  Arena::Scope scope() { return Arena::Scope(arena_); }

  /// Calls `f(task, scratch)` for every task, on any thread. `scratch` is the worker's own arena; what a task
  /// takes from it is given back when the task ends. Nothing happens while the device is dry: a form touches
  /// memory in here and nowhere else.
  template <class F>
  void parallel_for(Index tasks, F&& f) {
    if (dry_) return;
    pool_->parallel_for(tasks, [&](Index task, int worker) {
      Arena& scratch = scratch_[static_cast<std::size_t>(worker)];
      const Arena::Scope scope(scratch);
      f(task, scratch);
    });
  }

  template <class T, int Rank>
  void fill(View<T, Rank> x, std::type_identity_t<T> value) {
    tiles(x.size(), [&](Index begin, Index count) { std::fill_n(x.data() + begin, count, value); });
  }
  template <class T, int Rank>
  void copy(View<const T, Rank> from, View<T, Rank> to) {
    assert(from.shape() == to.shape());
    tiles(from.size(), [&](Index begin, Index count) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(count) * sizeof(T));
    });
  }

  /// The sum of a short vector, in double, in order.
  double sum(View<const S, 1> x) const {
    double total = 0;
    if (!dry_)
      for (Index i = 0; i < x.size(); ++i) total += static_cast<double>(x(i));
    return total;
  }

  /// The bytes that `f` would need for activations at once; does none of its work.
  template <class F>
  std::size_t measure(F&& f) {
    const auto scope = this->scope();
    const std::size_t before = arena_.used();
    arena_.reset_peak();
    const Dry dry(*this);
    f();
    return arena_.peak() - before;
  }
  bool dry() const { return dry_; }

  /// The most memory that activations took at once so far.
  std::size_t peak_bytes() const { return arena_.peak(); }

 private:
  struct Dry {
    explicit Dry(Cpu& d) : device(d) { set(true); }
    Dry(const Dry&) = delete;
    Dry& operator=(const Dry&) = delete;
    ~Dry() { set(false); }
    void set(bool dry) {
      device.dry_ = dry;
      device.arena_.set_dry(dry);
    }
    Cpu& device;
  };

  static int checked(int threads) {
    if (threads < 0 || threads > 512) fail("Cpu: threads must be in 0 ... 512 (0: all), but is ", threads);
    return threads == 0 ? available_processors() : threads;
  }

  template <class F>
  void tiles(Index size, F&& f) {
    constexpr Index tile = 1 << 15;
    parallel_for((size + tile - 1) / tile,
                 [&](Index task, Arena&) { f(task * tile, std::min(tile, size - task * tile)); });
  }

  std::unique_ptr<ThreadPool> pool_;
  Arena arena_;
  std::vector<Arena> scratch_;
  bool dry_ = false;
};

}  // namespace midus
