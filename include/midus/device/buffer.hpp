// Memory that lasts: parameters, gradients, moments, tables, caches.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/core/view.hpp"
#include "midus/device/huge_pages.hpp"

namespace midus {

/// `size` elements of `T` on a device, zero at first, aligned to a cache line. Pages are backed by memory
/// when they are first touched. This primary template is host memory; a device whose memory is elsewhere
/// specialises it.
template <class Device, class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(Index size) : size_(size) {
    if (size == 0) return;
    constexpr std::size_t alignment = 64;
    std::size_t room = static_cast<std::size_t>(size) * sizeof(T) + alignment;
    if (size > 0 && static_cast<std::size_t>(size) < SIZE_MAX / 2 / sizeof(T))
      block_.reset(std::calloc(room, 1));
    if (block_ == nullptr)
      fail("out of memory: the system refuses ", room,
           " bytes for weights, gradients or moments; train fewer parameters, or store frozen ones as "
           "bfloat16");
    prefer_huge_pages(block_.get(), room);
    void* at = block_.get();
    data_ = static_cast<T*>(std::align(alignment, room - alignment, at, room));
  }
  Buffer(Buffer&& other) noexcept
      : block_(std::move(other.block_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    block_ = std::move(other.block_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  Index size() const { return size_; }
  View<T, 1> view() const { return {data_, Shape<1>{{size_}}}; }

 private:
  struct Free {
    void operator()(void* block) const { std::free(block); }
  };
  std::unique_ptr<void, Free> block_;
  T* data_ = nullptr;
  Index size_ = 0;
};

}  // namespace midus
