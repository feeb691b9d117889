#include "midus/ops/value_pool_cpu.hpp"

#include "reference/value_pool.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

/// How often which slot is read.
enum class Hits { spread, one_slot, every_slot_once, few_slots };

struct ValuePoolCase {
  Index R, G, K, N, W;
  bool own_banks = false, accumulate = false;
  Hits hits = Hits::spread;

  Index slot(Index hit) const {
    switch (hits) {
      case Hits::one_slot:
        return N / 2;
      case Hits::every_slot_once:
        return hit * 7919 % N;
      case Hits::few_slots:
        return hit % 5 == 0 ? hit * 31 % N : hit % std::min(N, Index{3});
      default:
        return static_cast<Index>(Random(1, "slots").below(hit, static_cast<std::uint64_t>(N)));
    }
  }

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const Shape chosen{R, G, K}, bank{own_banks ? G : 1, N, W}, out{R, G, W};
    const auto slots = t.integers(chosen, [&](Index hit) { return slot(hit); });
    const auto weights = t.random("weights", chosen);
    const auto values = t.weight("values", bank);
    const auto pooled = accumulate ? t.random("pooled start", out) : t.output(out);
    run(t.device, ValuePool<S>{.slots = slots,
                               .weights = weights,
                               .values = values,
                               .pooled = pooled,
                               .accumulate = accumulate});
    t.keep("pooled", pooled, K);
    const auto dweights = t.output(chosen);
    const auto dvalues = t.random("dvalues start", bank);
    run(t.device, ValuePoolBackward<S>{.slots = slots,
                                       .weights = weights,
                                       .values = values,
                                       .dpooled = t.random("dpooled", out),
                                       .dweights = dweights,
                                       .dvalues = dvalues});
    t.keep("dweights", dweights, W);
    t.keep("dvalues", dvalues, R * G * K);
  }
};

/// The backward of `shape`, of values that are trained or frozen.
template <class D>
Results backward(Tensors<D>& t, const ValuePoolCase& shape, bool frozen) {
  using S = typename D::Scalar;
  const Shape chosen{shape.R, shape.G, shape.K}, bank{shape.own_banks ? shape.G : 1, shape.N, shape.W};
  const auto dweights = t.output(chosen);
  const auto dvalues = t.random("dvalues", bank);
  run(t.device, ValuePoolBackward<S>{.slots = t.integers(chosen, [&](Index hit) { return shape.slot(hit); }),
                                     .weights = t.random("weights", chosen),
                                     .values = t.weight("values", bank),
                                     .dpooled = t.random("dpooled", Shape{shape.R, shape.G, shape.W}),
                                     .dweights = dweights,
                                     .dvalues = frozen ? View<S, 3>() : dvalues});
  t.keep("dweights", dweights);
  t.keep("dvalues", dvalues);
  return t.results();
}

TEST_CASE("value_pool: the reference's backward is the derivative of its forward") {
  const auto shape = GENERATE(ValuePoolCase{3, 2, 5, 9, 3}, ValuePoolCase{4, 2, 3, 6, 2, true},
                              ValuePoolCase{3, 1, 8, 4, 3, false, true});
  check_complex_step(shape, {{"values", "dvalues", "dvalues start"}, {"weights", "dweights", ""}},
                     {{"pooled", "dpooled"}});
}

TEMPLATE_LIST_TEST_CASE("value_pool: forward and backward", "", Devices) {
  // Widths with and without a factor of a vector's, one bank and several, one list of many, no rows.
  const auto shape = GENERATE(
      ValuePoolCase{1, 1, 1, 1, 1}, ValuePoolCase{3, 2, 5, 9, 7, true}, ValuePoolCase{67, 3, 4, 50, 32},
      ValuePoolCase{20, 2, 16, 256, 128}, ValuePoolCase{9, 4, 8, 64, 64, true},
      ValuePoolCase{40, 1, 33, 100, 100}, ValuePoolCase{130, 2, 2, 17, 19, true, true},
      ValuePoolCase{6, 1, 128, 400, 257}, ValuePoolCase{300, 4, 8, 9000, 48},
      ValuePoolCase{50, 4, 4, 3000, 40, true}, ValuePoolCase{5, 2, 3, 10, 1}, ValuePoolCase{0, 2, 3, 10, 8},
      ValuePoolCase{33, 2, 16, 500, 129, false, true}, ValuePoolCase{2, 1, 1, 5000, 256, false, true});
  INFO("R " << shape.R << " G " << shape.G << " K " << shape.K << " N " << shape.N << " W " << shape.W);
  check_op<TestType>(shape);
}

TEMPLATE_LIST_TEST_CASE("value_pool: hot slots, and every slot once", "", Devices) {
  const auto shape = GENERATE(ValuePoolCase{150, 3, 8, 2000, 36, false, false, Hits::one_slot},
                              ValuePoolCase{150, 3, 8, 2000, 36, true, false, Hits::one_slot},
                              ValuePoolCase{50, 4, 10, 2000, 36, false, false, Hits::every_slot_once},
                              ValuePoolCase{150, 3, 8, 2000, 36, false, false, Hits::few_slots});
  INFO("hits " << static_cast<int>(shape.hits));
  check_op<TestType>(shape);
}

TEMPLATE_LIST_TEST_CASE("value_pool: rows that nobody reads keep their gradient, bit for bit", "", Devices) {
  using S = typename TestType::Scalar;
  const auto hits = GENERATE(Hits::one_slot, Hits::spread);
  const ValuePoolCase shape{30, 2, 4, 700, 40, false, false, hits};
  Tensors<TestType> t(3), untouched(1);
  const Results got = backward(t, shape, false), before = backward(untouched, shape, true);
  std::vector<bool> hit(700);
  for (Index i = 0; i < 30 * 2 * 4; ++i) hit[static_cast<std::size_t>(shape.slot(i))] = true;
  for (std::size_t slot = 0; slot < hit.size(); ++slot) {
    const std::size_t bytes = 40 * sizeof(S);
    const bool same = std::memcmp(got.at("dvalues").bytes.data() + slot * bytes,
                                  before.at("dvalues").bytes.data() + slot * bytes, bytes) == 0;
    REQUIRE(same != hit[slot]);
  }
}

TEMPLATE_LIST_TEST_CASE("value_pool: frozen values get no gradient and change no other", "", Devices) {
  const ValuePoolCase shape{30, 2, 4, 700, 40};
  Tensors<TestType> trained(2), frozen(2), start(1);
  const Results all = backward(trained, shape, false), some = backward(frozen, shape, true);
  CHECK(some.at("dweights").same_bits(all.at("dweights")));
  start.keep("dvalues", start.random("dvalues", Shape{Index{1}, Index{700}, Index{40}}));
  CHECK(some.at("dvalues").same_bits(start.results().at("dvalues")));
}

TEMPLATE_LIST_TEST_CASE("value_pool: NaN in a value stays with those who read it", "", Devices) {
  using S = typename TestType::Scalar;
  const Shape chosen{Index{6}, Index{1}, Index{2}}, out{Index{6}, Index{1}, Index{20}};
  Tensors<TestType> t(2);
  const auto slots = t.integers(chosen, [](Index hit) { return hit; });
  const auto values = t.random("values", Shape{Index{1}, Index{12}, Index{20}});
  values(0, 5, 3) = poison<S>();
  const auto pooled = t.output(out);
  run(t.device, ValuePool<S>{.slots = slots,
                             .weights = t.random("weights", chosen),
                             .values = View<S, 3>(values),
                             .pooled = pooled});
  for (Index r = 0; r < 6; ++r)
    for (Index c = 0; c < 20; ++c) REQUIRE(std::isnan(pooled(r, 0, c)) == (r == 2 && c == 3));
}

}  // namespace
}  // namespace midus
