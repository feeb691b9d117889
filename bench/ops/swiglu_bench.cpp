// The gate of a SwiGLU layer and its backward.
#include "midus/ops/swiglu_cpu.hpp"

#include "op_bench.hpp"
#include "reference/swiglu.hpp"

namespace midus::bench {
namespace {

struct SwigluCase {
  Index R, f;
  bool backward = false;

  template <class D, class Go>
  void operator()(Tensors<D>& t, Go&& go) const {
    using S = typename D::Scalar;
    const Shape<2> shape{{R, f}};
    const auto gate = t.random("gate", shape), up = t.random("up", shape), dy = t.random("dy", shape);
    const auto y = t.output(shape), dgate = t.output(shape), dup = t.output(shape);
    if (backward) {
      go([&] {
        run(t.device, SwigluBackward<S>{.gate = gate, .up = up, .dy = dy, .dgate = dgate, .dup = dup});
      });
      t.keep("dgate", dgate);
      t.keep("dup", dup);
    } else {
      go([&] { run(t.device, Swiglu<S>{.gate = gate, .up = up, .y = y}); });
      t.keep("y", y);
    }
  }
  double bytes() const { return 4.0 * static_cast<double>((backward ? 5 : 3) * R * f); }
  std::string title() const { return sizes({{"R", R}, {"f", f}}); }
};

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  using midus::bench::SwigluCase;
  midus::bench::add<SwigluCase>("forward", {33, 40}, {{2048, 352}, {4096, 704}, {16384, 2048}});
  midus::bench::add<SwigluCase>("backward", {33, 40, true},
                                {{2048, 352, true}, {4096, 704, true}, {16384, 2048, true}});
  return midus::bench::run_benchmarks(argc, argv);
}
