// Tensors of more than 2^31 elements: the memory is reserved and not filled, and only a few pages are
// touched.
#include <sys/mman.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "midus/ops/embedding_cpu.hpp"
#include "midus/ops/value_pool_cpu.hpp"
#include "support/catch.hpp"

namespace midus {
namespace {

/// A tensor whose pages exist once they are written; zero until then.
template <class T, int Rank>
class Sparse {
 public:
  explicit Sparse(const Shape<Rank>& shape)
      : bytes_(static_cast<std::size_t>(shape.size()) * sizeof(T)),
        memory_(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0)),
        view_(static_cast<T*>(memory_), shape) {}
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
  ~Sparse() {
    if (exists()) ::munmap(memory_, bytes_);
  }

  bool exists() const { return memory_ != MAP_FAILED; }
  const View<T, Rank>& view() const { return view_; }

 private:
  std::size_t bytes_;
  void* memory_;
  View<T, Rank> view_;
};

const char* const no_room = "the system does not reserve so much memory: nothing was tested";

}  // namespace

TEST_CASE("wide indices: the last row of a table of 2^31 elements and more") {
  const Index V = (Index{1} << 21) + 3, d = 1024;
  const Sparse<float, 2> table(Shape{V, d}), gradient(Shape{V, d});
  if (!table.exists() || !gradient.exists()) {
    WARN(no_room);
    return;
  }
  REQUIRE(table.view().size() > Index{1} << 31);
  for (Index i = 0; i < d; ++i) table.view()(V - 1, i) = static_cast<float>(i + 1);
  Cpu<float> device(2);
  const std::vector<std::int32_t> ids{0, static_cast<std::int32_t>(V - 1)};
  const View<const std::int32_t, 1> rows(ids.data(), Shape{Index{2}});
  const auto y = device.allocate(Shape{Index{2}, d}), dy = device.allocate(Shape{Index{2}, d});
  run(device, Embedding<float>{.ids = rows, .table = View<const float, 2>(table.view()), .y = y});
  device.fill(dy, 3.0F);
  run(device, EmbeddingBackward<float>{.ids = rows, .dy = dy, .dtable = gradient.view()});
  for (Index i = 0; i < d; ++i) {
    CHECK(y(0, i) == 0);
    CHECK(y(1, i) == static_cast<float>(i + 1));
    CHECK(gradient.view()(V - 1, i) == 3);
  }
}

TEST_CASE("wide indices: slots behind the element 2^31 and 2^32 of a bank") {
  const Index n = 46340, r = 3, N = n * n;
  const Sparse<float, 3> bank(Shape{Index{1}, N, r}), gradient(Shape{Index{1}, N, r});
  if (!bank.exists() || !gradient.exists()) {
    WARN(no_room);
    return;
  }
  REQUIRE(bank.view().size() > Index{1} << 32);
  const std::vector<std::int32_t> slots{1, static_cast<std::int32_t>(N / 2),
                                        static_cast<std::int32_t>(N - 1)};
  const std::vector<float> weights{0.5F, 0.25F, 2};
  for (Index i = 0; i < 3; ++i)
    for (Index c = 0; c < r; ++c)
      bank.view()(0, slots[static_cast<std::size_t>(i)], c) = static_cast<float>(1 + i + 10 * c);
  Cpu<float> device(2);
  const Shape<3> reads{{1, 1, 3}};
  const View<const std::int32_t, 3> at(slots.data(), reads);
  const View<const float, 3> w(weights.data(), reads);
  const auto pooled = device.allocate(Shape{Index{1}, Index{1}, r}), dweights = device.allocate(reads),
             dpooled = device.allocate(pooled.shape());
  run(device, ValuePool<float>{
                  .slots = at, .weights = w, .values = View<const float, 3>(bank.view()), .pooled = pooled});
  device.fill(dpooled, 1.0F);
  run(device, ValuePoolBackward<float>{.slots = at,
                                       .weights = w,
                                       .values = View<const float, 3>(bank.view()),
                                       .dpooled = dpooled,
                                       .dweights = dweights,
                                       .dvalues = gradient.view()});
  for (Index c = 0; c < r; ++c) {
    const float ten = static_cast<float>(10 * c);
    CHECK(pooled(0, 0, c) == 0.5F * (1 + ten) + 0.25F * (2 + ten) + 2 * (3 + ten));
    for (std::size_t i = 0; i < 3; ++i) CHECK(gradient.view()(0, slots[i], c) == weights[i]);
  }
  for (Index i = 0; i < 3; ++i) CHECK(dweights(0, 0, i) == static_cast<float>(3 * (1 + i) + 30));
}

TEST_CASE("wide indices: more than 2^31 reads, tokens by heads by k", "[.long]") {
  const Index R = (Index{1} << 16) + 1, K = 1 << 15;
  const Shape<3> reads{{R, 1, K}};
  REQUIRE(reads.size() > Index{1} << 31);
  const Sparse<std::int32_t, 3> slots(reads);
  const Sparse<float, 3> weights(reads);
  if (!slots.exists() || !weights.exists()) {
    WARN(no_room);
    return;
  }
  const std::vector<float> bank{7, 100};
  slots.view()(R - 1, 0, K - 1) = 1;
  weights.view()(R - 1, 0, K - 1) = 0.5F;
  weights.view()(R - 1, 0, 0) = 1;
  Cpu<float> device(2);
  const View<const float, 3> values(bank.data(), Shape<3>{{1, 2, 1}});
  const auto pooled = device.allocate(Shape<3>{{R, 1, 1}});
  run(device, ValuePool<float>{.slots = View<const std::int32_t, 3>(slots.view()),
                               .weights = View<const float, 3>(weights.view()),
                               .values = values,
                               .pooled = pooled});
  CHECK(pooled(0, 0, 0) == 0);
  CHECK(pooled(R - 2, 0, 0) == 0);
  CHECK(pooled(R - 1, 0, 0) == 57);
}

}  // namespace midus
