#include "midus/ops/causal_attention_cpu.hpp"

#include "reference/causal_attention.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct AttentionCase {
  Index B, T, H, KV, D;
  Index past = 0, spare = 0;  // keys before the first query; room behind the last
  double scale = 1;
  Index step = 0;  // each sequence has so many keys fewer before it than the one before

  template <class Device>
  void operator()(Tensors<Device>& t) const {
    using S = typename Device::Scalar;
    const Index keys = past + T + spare;
    const auto q = t.random("q", Shape{B, T, H, D}, scale);
    const auto k = t.random("k", Shape{B, keys, KV, D}), v = t.random("v", Shape{B, keys, KV, D});
    if (!t.device.dry())  // the room behind holds anything
      for (Index b = 0; b < B; ++b)
        for (Index s = past - b * step + T; s < keys; ++s) {
          std::fill_n(k.row(b, s), KV * D, poison<S>());
          std::fill_n(v.row(b, s), KV * D, poison<S>());
        }
    const auto pasts = t.integers(Shape{B}, [&](Index b) { return past - b * step; });
    const auto y = t.output(q.shape()), y_alone = t.output(q.shape());
    const auto log_sum = t.output(Shape{B, H, T});
    run(t.device, CausalAttention<S>{.q = q, .k = k, .v = v, .y = y, .log_sum = log_sum, .past = pasts});
    t.keep("y", y, keys + D);
    t.keep("log_sum", log_sum, keys + D);
    run(t.device, CausalAttention<S>{.q = q, .k = k, .v = v, .y = y_alone, .past = pasts});
    t.keep("y alone", y_alone, keys + D);
    if (past > 0 || spare > 0) return;
    const auto dq = t.output(q.shape()), dk = t.output(k.shape()), dv = t.output(v.shape());
    run(t.device, CausalAttentionBackward<S>{.q = q,
                                             .k = k,
                                             .v = v,
                                             .y = y,
                                             .log_sum = log_sum,
                                             .dy = t.random("dy", q.shape()),
                                             .dq = dq,
                                             .dk = dk,
                                             .dv = dv});
    t.keep("dq", dq, keys + D, 1);
    t.keep("dk", dk, keys + D, 1);
    t.keep("dv", dv, keys + D, 1);
  }
};

std::ostream& operator<<(std::ostream& out, const AttentionCase& c) {
  return out << "B " << c.B << " T " << c.T << " H " << c.H << " KV " << c.KV << " D " << c.D << " past "
             << c.past << " spare " << c.spare << " scale " << c.scale << " step " << c.step;
}

TEST_CASE("causal_attention: the reference's backward is the derivative of its forward") {
  const std::vector<GradientOf> gradients{{"q", "dq", ""}, {"k", "dk", ""}, {"v", "dv", ""}};
  check_complex_step(AttentionCase{2, 3, 4, 2, 2}, gradients, {{"y", "dy"}});
  check_complex_step(AttentionCase{1, 4, 3, 1, 4, 0, 0, 3}, gradients, {{"y", "dy"}});
}

TEMPLATE_LIST_TEST_CASE("causal_attention: forward and backward", "", Devices) {
  const auto shape = GENERATE(AttentionCase{1, 1, 1, 1, 2}, AttentionCase{2, 1, 4, 2, 32},
                              AttentionCase{2, 5, 4, 4, 6}, AttentionCase{1, 128, 2, 1, 16},
                              AttentionCase{1, 129, 2, 2, 10}, AttentionCase{2, 257, 6, 2, 34},
                              AttentionCase{1, 300, 3, 1, 2}, AttentionCase{1, 130, 2, 1, 64, 0, 0, 8},
                              AttentionCase{3, 0, 2, 1, 4}, AttentionCase{0, 3, 2, 1, 4});
  INFO(shape);
  check_op<TestType>(shape);
}

TEMPLATE_LIST_TEST_CASE("causal_attention: past keys and room behind", "", Devices) {
  const auto shape =
      GENERATE(AttentionCase{2, 1, 4, 2, 16, 1}, AttentionCase{1, 1, 4, 1, 8, 127, 5},
               AttentionCase{2, 1, 2, 2, 8, 128, 1}, AttentionCase{1, 130, 2, 1, 12, 75, 9},
               AttentionCase{1, 3, 5, 1, 2, 300, 0}, AttentionCase{2, 70, 2, 1, 6, 0, 3},
               AttentionCase{4, 1, 4, 2, 6, 130, 0, 1, 43}, AttentionCase{3, 17, 2, 2, 8, 70, 2, 1, 35},
               AttentionCase{1, 1, 9, 1, 66, 257, 1}, AttentionCase{2, 1, 8, 1, 7, 300, 1, 3},
               AttentionCase{1, 1, 10, 10, 64, 140, 3}, AttentionCase{3, 1, 7, 3, 40, 260, 2, 1, 100},
               AttentionCase{1, 1, 2, 5, 70, 130, 1});
  INFO(shape);
  check_op<TestType>(shape);
}

/// Queries t ... of one sequence, with the keys before them as past.
template <class Device, class S>
View<S, 4> attend(Tensors<Device>& t, const View<S, 4>& q, const View<S, 4>& k, const View<S, 4>& v,
                  Index past) {
  const auto y = t.output(q.shape());
  const auto pasts = t.integers(Shape{q.extent(0)}, [&](Index) { return past; });
  run(t.device, CausalAttention<S>{.q = q, .k = k, .v = v, .y = y, .past = pasts});
  return y;
}

// To rounding: one query reads keys and values where they lie.
TEMPLATE_LIST_TEST_CASE("causal_attention: a token decoded alone is what it is in a prefill", "", Devices) {
  constexpr Index T = 280, H = 4, KV = 2, D = 20;
  using S = typename TestType::Scalar;
  Tensors<TestType> t(2);
  const auto q = t.random("q", Shape{Index{1}, T, H, D});
  const auto k = t.random("k", Shape{Index{1}, T, KV, D}), v = t.random("v", Shape{Index{1}, T, KV, D});
  const auto all = attend(t, q, k, v, 0);
  for (const Index at : {Index{0}, Index{127}, Index{128}, Index{200}, T - 1}) {
    const View<S, 4> one(q.row(0, at), Shape{Index{1}, Index{1}, H, D});
    const auto alone = attend(t, one, k, v, at);
    for (Index i = 0; i < H * D; ++i)
      CHECK(static_cast<double>(alone.data()[i]) ==
            Approx(static_cast<double>(all.row(0, at)[i]))
                .epsilon(0)
                .margin(20 * static_cast<double>(std::numeric_limits<S>::epsilon())));
  }
}

TEMPLATE_LIST_TEST_CASE("causal_attention: a later token changes no bit of an earlier one, not even as NaN",
                        "", Devices) {
  constexpr Index T = 270, H = 2, KV = 1, D = 8, at = 140;
  using S = typename TestType::Scalar;
  Tensors<TestType> t(2);
  const auto q = t.random("q", Shape{Index{1}, T, H, D});
  const auto k = t.random("k", Shape{Index{1}, T, KV, D}), v = t.random("v", Shape{Index{1}, T, KV, D});
  const auto before = attend(t, q, k, v, 0);
  const S value = GENERATE(S(5), std::numeric_limits<S>::infinity(), std::numeric_limits<S>::quiet_NaN());
  q(0, at, 0, 1) = k(0, at, 0, 3) = v(0, at, 0, 2) = value;
  const auto after = attend(t, q, k, v, 0);
  CHECK(std::memcmp(before.data(), after.data(), at * H * D * sizeof(S)) == 0);
  CHECK(std::memcmp(before.row(0, at), after.row(0, at), H * D * sizeof(S)) != 0);
  if (std::isnan(value))
    for (Index s = at; s < T; ++s)
      for (Index h = 0; h < H; ++h) CHECK(std::isnan(after(0, s, h, 2)));
}

TEMPLATE_LIST_TEST_CASE("causal_attention: extreme scores", "", Devices) {
  using S = typename TestType::Scalar;
  Tensors<TestType> t(1);
  const auto q = t.make("q", Shape{Index{1}, Index{140}, Index{1}, Index{2}}, [](Index) { return 1e4; });
  const auto k = t.make("k", q.shape(), [](Index i) { return i / 2 == 3 ? 1e4 : -1e4; });
  const auto v = t.random("v", q.shape());
  const auto y = attend(t, q, k, v, 0);
  CHECK(y(0, 0, 0, 1) == v(0, 0, 0, 1));
  for (Index s = 3; s < 140; ++s) CHECK(y(0, s, 0, 0) == v(0, 3, 0, 0));  // the one key that it fits
  // A first tile of keys that count for nothing is forgotten, not NaN.
  for (Index s = 0; s < 128; ++s) k(0, s, 0, 0) = -std::numeric_limits<S>::infinity();
  CHECK(attend(t, q, k, v, 0)(0, 128, 0, 0) == v(0, 128, 0, 0));
  const View<S, 4> one(q.row(0, 128), Shape{Index{1}, Index{1}, Index{1}, Index{2}});
  CHECK(attend(t, one, k, v, 128)(0, 0, 0, 0) == v(0, 128, 0, 0));
  v(0, 5, 0, 1) = std::numeric_limits<S>::quiet_NaN();  // where its key counts for nothing, too
  CHECK(std::isnan(attend(t, one, k, v, 128)(0, 0, 0, 1)));
}

}  // namespace
}  // namespace midus
