// Large pages for memory that is read from front to back.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace midus {

/// Asks for large pages (2 MiB) where so many bytes can have one: fewer addresses are translated, and the
/// processor, which fetches ahead, need not stop at every 4 KiB. A wish: the system may do without.
inline void prefer_huge_pages(void* from, std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (bytes < (std::size_t{1} << 21)) return;
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(from);
  const std::uintptr_t first = (begin + page - 1) / page * page, end = (begin + bytes) / page * page;
  madvise(static_cast<std::byte*>(from) + (first - begin), end - first, MADV_HUGEPAGE);
#else
  static_cast<void>(from), static_cast<void>(bytes);
#endif
}

}  // namespace midus
