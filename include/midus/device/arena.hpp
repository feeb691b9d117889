// Memory that is handed out by moving a mark.
#pragma once

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/device/huge_pages.hpp"

namespace midus {

/// The bytes of addresses that the process may still reserve: what is left of RLIMIT_AS, which `ulimit -v`
/// and grid engines set; the largest number where there is no limit.
inline std::size_t addresses_left() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const std::size_t used = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), all = limit.rlim_cur;
  return all - std::min(all, used);
}

/// A stack allocator over one range of addresses that is reserved at once and backed by memory only where it
/// has been used: it never moves what it handed out, needs no size beforehand, and a training step allocates
/// nothing once the first has touched its pages. Not for several threads at once.
class Arena {
 public:
  static constexpr std::size_t alignment = 64;

  /// Reserves addresses (no memory) for up to `bytes`. Where the process may reserve only so many, takes no
  /// more than one of `parts` equal parts of what is left of them: the rest is for others, and for weights
  /// and files.
  explicit Arena(std::size_t bytes = std::size_t{1} << 40, std::size_t parts = 3) {
    constexpr std::size_t least = std::size_t{1} << 20;
    const std::size_t share = addresses_left() / parts;
    limited_ = share < bytes;
    bytes = std::min(bytes, share) / least * least;
    for (; bytes >= least; bytes /= 2) {
      void* const base = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (base == MAP_FAILED) continue;
      base_ = static_cast<std::byte*>(base);
      reserved_ = bytes / alignment * alignment;
      return;
    }
    fail("out of memory: the system gives no addresses for activations",
         limited_ ? text(": of those that the process may reserve ", share,
                         " bytes are this part; raise the limit "
                         "(ulimit -v), or use fewer threads")
                  : "");
  }
  Arena(Arena&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        reserved_(std::exchange(other.reserved_, 0)),
        usable_(std::exchange(other.usable_, 0)),
        used_(std::exchange(other.used_, 0)),
        peak_(std::exchange(other.peak_, 0)),
        dry_(other.dry_),
        limited_(other.limited_) {}
  Arena& operator=(Arena&&) = delete;
  ~Arena() {
    if (base_ != nullptr) munmap(base_, reserved_);
  }

  /// `bytes` of uninitialised memory, aligned to a cache line. It is given back when the scope that encloses
  /// the call ends.
  void* allocate(std::size_t bytes) {
    const std::size_t most = dry_ ? std::size_t{1} << 62 : reserved_;
    if (bytes > most - used_)  // both are multiples of the alignment, so rounding up still fits
      fail("out of memory: ", bytes, " bytes wanted, ", most - used_, " of ", most, " left",
           limited_ ? "; that is a share of the addresses that the process may reserve (ulimit -v)"
                    : "; results live until the device's enclosing scope() ends: open one around each use");
    bytes = (bytes + alignment - 1) / alignment * alignment;
    std::byte* const at = base_ + used_;
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    if (!dry_ && used_ > usable_) make_usable();
    return at;
  }

  /// Gives back, when it ends, all that was allocated since it began.
  class [[nodiscard]] Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.used_) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { arena_.used_ = mark_; }

   private:
    Arena& arena_;
    std::size_t mark_;
  };

  std::size_t used() const { return used_; }
  /// The most that was in use at once since `reset_peak`.
  std::size_t peak() const { return peak_; }
  void reset_peak() { peak_ = used_; }
  /// While dry, allocations are counted and never backed by memory: nothing may read or write them.
  void set_dry(bool dry) { dry_ = dry; }

 private:
  void make_usable() {
    constexpr std::size_t step = std::size_t{1} << 21;  // one huge page
    const std::size_t wanted = std::min((used_ + used_ / 8 + step - 1) / step * step, reserved_);
    if (mprotect(base_ + usable_, wanted - usable_, PROT_READ | PROT_WRITE) != 0)
      fail("out of memory: the system refuses ", wanted - usable_, " bytes more for activations (", usable_,
           " are in use); take a smaller batch or a shorter length, or turn gradient checkpointing on");
    prefer_huge_pages(base_ + usable_, wanted - usable_);
    usable_ = wanted;
  }

  std::byte* base_ = nullptr;
  std::size_t reserved_ = 0, usable_ = 0, used_ = 0, peak_ = 0;
  bool dry_ = false, limited_ = false;
};

}  // namespace midus
