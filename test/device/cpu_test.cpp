#include "midus/device/cpu.hpp"

#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "midus/device/buffer.hpp"
#include "support/catch.hpp"
#include "support/devices.hpp"

namespace midus {
namespace {

TEMPLATE_LIST_TEST_CASE("cpu: fill, copy and sum", "", Devices) {
  using S = typename TestType::Scalar;
  STATIC_REQUIRE(Device<TestType>);
  for (const int threads : {1, 3}) {
    TestType device(threads);
    CHECK(device.threads() == threads);
    for (const Index n : {Index{0}, Index{1}, Index{70000}}) {
      const auto scope = device.scope();
      const View<S, 1> x = device.allocate(Shape{n}), y = device.allocate(Shape{n});
      device.fill(x, S(0.5));
      device.copy(View<const S, 1>(x), y);
      CHECK(device.sum(y) == 0.5 * static_cast<double>(n));
    }
  }
}

TEST_CASE("cpu: a sum is taken in double") {
  Cpu<float> device(1);
  const auto x = device.allocate(Shape{Index{3}});
  x(0) = 1e8f;
  x(1) = 1;
  x(2) = -1e8f;
  CHECK(device.sum(x) == 1);
}

TEST_CASE("cpu: integers beside scalars") {
  Cpu<double> device(1);
  const auto ids = device.allocate_as<std::int32_t>(Shape{Index{2}, Index{5}});
  device.fill(ids, -7);
  CHECK(ids(1, 4) == -7);
}

TEST_CASE("cpu: a scope gives back what was allocated in it") {
  Cpu<float> device(1);
  const float* before = nullptr;
  {
    const auto scope = device.scope();
    before = device.allocate(Shape{Index{10}}).data();
  }
  CHECK(device.allocate(Shape{Index{10}}).data() == before);
}

TEST_CASE("cpu: measuring does no work and says what the work takes") {
  Cpu<float> device(2);
  const auto kept = device.allocate(Shape{Index{100}});
  device.fill(kept, 1.0f);
  int tasks = 0;
  const auto step = [&] {
    const auto scope = device.scope();
    const auto x = device.allocate(Shape{Index{1000000}});
    {
      const auto inner = device.scope();
      device.fill(device.allocate(Shape{Index{5000}}), 2.0f);
    }
    device.fill(x, 3.0f);
    device.fill(kept, device.sum(x) > 0 ? 4.0f : 5.0f);
    device.parallel_for(1, [&](Index, Arena&) { ++tasks; });
  };
  const std::size_t bytes = device.measure(step);
  CHECK_FALSE(device.dry());
  CHECK(tasks == 0);
  CHECK(kept(99) == 1);
  CHECK(bytes >= 4020000);
  const std::size_t before = 100 * 4 + 48;  // in whole cache lines
  step();
  CHECK(tasks == 1);
  CHECK(kept(99) == 4);
  CHECK(device.peak_bytes() == before + bytes);
}

TEST_CASE("cpu: measuring that throws leaves the device as it was") {
  Cpu<float> device(1);
  CHECK_THROWS_AS(device.measure([&] { fail("no"); }), Error);
  CHECK_FALSE(device.dry());
  device.fill(device.allocate(Shape{Index{10}}), 1.0f);
}

TEST_CASE("cpu: each worker has scratch memory of its own, given back after each task") {
  Cpu<double> device(4);
  std::atomic<int> mixed{0};
  device.parallel_for(200, [&](Index task, Arena& scratch) {
    auto* const x = take<Index>(scratch, 1000);
    std::fill_n(x, 1000, task);
    for (int i = 0; i < 1000; ++i)
      if (x[i] != task) ++mixed;
    if (scratch.used() != 8000) ++mixed;
  });
  CHECK(mixed == 0);
}

TEST_CASE("cpu: a number of threads that cannot be is an error") {
  CHECK_THROWS_AS(Cpu<float>(-1), Error);
  CHECK_THROWS_WITH(Cpu<float>(100000), Catch::Contains("100000"));
  CHECK(Cpu<float>(0).threads() >= 1);
}

TEST_CASE("cpu: a size that cannot be is an error, not a smaller one") {
  Cpu<float> device(1);
  const std::size_t before = device.peak_bytes();
  for (const int bits : {40, 61, 62}) CHECK_THROWS_AS(device.allocate(Shape{Index{1} << bits}), Error);
  CHECK_THROWS_AS(device.allocate(Shape{Index{-4}}), Error);
  CHECK_THROWS_AS(device.allocate(Shape{std::numeric_limits<Index>::min()}), Error);
  CHECK_THROWS_WITH(device.allocate(Shape{Index{-1}, Index{-8}}), Catch::Contains("found [-1, -8]"));
  CHECK_THROWS_AS(device.allocate(Shape{Index{1} << 32, Index{1} << 32}), Error);
  CHECK_THROWS_AS(device.allocate(Shape{Index{1} << 32, Index{1} << 31, Index{2}, Index{1}}), Error);
  CHECK_THROWS_AS(device.measure([&] { device.allocate(Shape{Index{1} << 62}); }), Error);
  for (const Index size : {Index{-1}, Index{1} << 61, Index{1} << 62, std::numeric_limits<Index>::min()})
    CHECK_THROWS_AS((Buffer<Cpu<float>, float>(size)), Error);
  CHECK(device.allocate(Shape{Index{0}, Index{3}}).size() == 0);
  CHECK(device.peak_bytes() == before);
}

TEST_CASE("cpu: two threads of the program on one device are told apart") {
  for (const int threads : {1, 3}) {
    Cpu<float> device(threads);
    std::string message;
    device.parallel_for(1,
                        [&](Index, Arena&) {  // the device is at work until the other thread has been refused
                          std::thread([&] {
                            try {
                              device.parallel_for(4, [](Index, Arena&) {});
                            } catch (const Error& error) {
                              message = error.what();
                            }
                          }).join();
                        });
    CHECK_THAT(message, Catch::Contains("two threads of the program use one device at once"));
    int done = 0;
    device.parallel_for(1, [&](Index, Arena&) { device.parallel_for(3, [&](Index, Arena&) { ++done; }); });
    CHECK(done == 3);  // from inside, and afterwards from another thread, all is well
    std::thread([&] { device.parallel_for(1, [&](Index, Arena&) { ++done; }); }).join();
    CHECK(done == 4);
    CHECK_THROWS_AS(device.parallel_for(2, [](Index, Arena&) { fail("no"); }), Error);
    device.parallel_for(1, [&](Index, Arena&) { ++done; });
    CHECK(done == 5);
  }
}

}  // namespace
}  // namespace midus
