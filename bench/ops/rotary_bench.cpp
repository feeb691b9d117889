// The rotary embedding, in place.
#include "midus/ops/rotary_cpu.hpp"

#include "op_bench.hpp"
#include "reference/rotary.hpp"

namespace midus::bench {
namespace {

struct RotaryCase {
  Index R, H, D;

  template <class Device, class Go>
  void operator()(Tensors<Device>& t, Go&& go) const {
    using S = typename Device::Scalar;
    const Index length = 256;
    const auto x = t.random("x", Shape{R, H, D});
    // Quarter turns: the same numbers are turned again and again, and others would shrink or grow by
    // rounding.
    const auto turned = [this](Index i, Index more) {
      const Index quarters = (i / (D / 2) + 1) * (i % (D / 2)) + more;
      return quarters % 2 == 1 ? 0.0 : quarters % 4 == 0 ? 1.0 : -1.0;
    };
    const Shape<2> table{{length, D / 2}};
    const auto cos = t.make("cos", table, [&](Index i) { return turned(i, 0); });
    const auto sin = t.make("sin", table, [&](Index i) { return turned(i, 3); });
    const auto positions = t.integers(Shape{R}, [&](Index i) { return i % length; });
    go([&] { run(t.device, Rotary<S>{.x = x, .positions = positions, .cos = cos, .sin = sin}); });
    t.keep("x", x);
  }
  double bytes() const { return 4.0 * static_cast<double>(2 * R * H * D); }
  std::string title() const { return sizes({{"R", R}, {"H", H}, {"D", D}}); }
};

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  using midus::bench::RotaryCase;
  midus::bench::add<RotaryCase>("rotary", {33, 3, 10}, {{2048, 4, 32}, {4096, 8, 32}, {16384, 12, 64}});
  return midus::bench::run_benchmarks(argc, argv);
}
