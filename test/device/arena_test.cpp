#include "midus/device/arena.hpp"

#include <cstdint>
#include <cstring>

#include "support/catch.hpp"

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

}  // namespace
}  // namespace midus
