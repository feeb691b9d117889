#include "midus/ops/embedding_cpu.hpp"

#include "reference/embedding.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct EmbeddingCase {
  Index R, V, d;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    // Row 0 often, some rows never.
    const auto ids =
        t.integers(Shape{R}, [&](Index r) { return r % 3 == 0 ? 0 : (r * 7919) % ((V + 1) / 2); });
    const auto y = t.output(Shape{R, d});
    run(t.device, Embedding<S>{.ids = ids, .table = t.weight("table", Shape{V, d}), .y = y});
    t.keep("y", y);
    const auto dtable = t.random("dtable start", Shape{V, d});
    run(t.device, EmbeddingBackward<S>{.ids = ids, .dy = t.random("dy", Shape{R, d}), .dtable = dtable});
    t.keep("dtable", dtable, R);
  }
};

TEST_CASE("embedding: the reference's backward is the derivative of its forward") {
  check_complex_step(EmbeddingCase{7, 5, 3}, {{"table", "dtable", "dtable start"}}, {{"y", "dy"}});
}

TEMPLATE_LIST_TEST_CASE("embedding: forward and backward", "", Devices) {
  const auto shape = GENERATE(EmbeddingCase{1, 1, 1}, EmbeddingCase{1, 9, 70}, EmbeddingCase{130, 50, 33},
                              EmbeddingCase{65, 1, 96}, EmbeddingCase{200, 1000, 7}, EmbeddingCase{0, 4, 5});
  INFO("R " << shape.R << " V " << shape.V << " d " << shape.d);
  check_op<TestType>(shape);
}

TEMPLATE_LIST_TEST_CASE("embedding: rows that no token names keep their gradient, bit for bit", "", Devices) {
  using S = typename TestType::Scalar;
  Tensors<TestType> t(3);
  const auto ids = t.integers(Shape{Index{9}}, [](Index) { return 2; });
  const auto dtable = t.random("dtable", Shape{Index{4}, Index{40}}),
             before = t.random("dtable", dtable.shape());
  run(t.device,
      EmbeddingBackward<S>{.ids = ids, .dy = t.random("dy", Shape{Index{9}, Index{40}}), .dtable = dtable});
  for (Index v = 0; v < 4; ++v)
    CHECK((std::memcmp(dtable.row(v), before.row(v), 40 * sizeof(S)) == 0) == (v != 2));
}

}  // namespace
}  // namespace midus
