// Counts every allocation of the program, on all threads: include it in one file of a test program.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

#include "support/sanitizers.hpp"

namespace midus::test {
inline std::atomic<long> allocations{0};
}

#if !MIDUS_SANITIZED
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
// operator new calls malloc, Eigen calls malloc or one of the aligned forms.
void* malloc(std::size_t size) { return ++midus::test::allocations, __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) {
  return ++midus::test::allocations, __libc_calloc(count, size);
}
void* realloc(void* block, std::size_t size) {
  return ++midus::test::allocations, __libc_realloc(block, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return ++midus::test::allocations, __libc_memalign(alignment, size);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t size) noexcept {
  ++midus::test::allocations;
  *block = __libc_memalign(alignment, size);
  return *block == nullptr ? 12 : 0;
}
}
#endif
