// A head-wise memory beside the SwiGLU feed-forward layer that stands in its place in an ordinary block
// (f = 4 d): "peer/ours" says how many times as long the latter takes, forward, and forward with backward.
#include "bench_support.hpp"
#include "midus/midus.hpp"
#include "reference/reference.hpp"

namespace midus::bench {
namespace {

/// Gives a layer random weights, and gradients to add to.
template <class D, class L>
void bind(D& device, L& layer, const char* name) {
  layer.visit(layer, Path(name), [&](const Path& path, auto& parameter) {
    const auto values = device.allocate(parameter.shape), gradients = device.allocate(parameter.shape);
    const Random random(1, path.str());
    for (Index i = 0; i < values.size(); ++i)
      values.data()[i] = static_cast<typename D::Scalar>(0.05 * random.normal(i));
    device.fill(gradients, typename D::Scalar(0));
    parameter.value = values;
    parameter.grad = gradients;
  });
}

template <class D>
Out<D, 2> random_rows(D& device, const char* name, Index rows, Index width) {
  const auto x = device.allocate(Shape{rows, width});
  const Random random(1, name);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<typename D::Scalar>(random.normal(i));
  return x;
}

/// Memory and feed-forward layer on the same rows.
template <class D, int d, int H, int n, int k, int r>
struct Pair {
  using Memory = typename HeadwiseMemory<H, n, k, FactorizedValue<r>>::template Layer<D, d, H, d / H>;
  D& device;
  Index rows;
  Memory memory;
  SwiGluLayer<D, d, 4 * d> feed_forward;
  Out<D, 2> x, y, dy, dx;

  Pair(D& on, Index count)
      : device(on),
        rows(count),
        x(random_rows(on, "x", count, d)),
        y(random_rows(on, "y", count, d)),
        dy(random_rows(on, "dy", count, d)),
        dx(random_rows(on, "dx", count, d)) {
    bind(device, memory, "memory");
    bind(device, feed_forward, "mlp");
  }
  static auto heads(const auto& view) { return view.reshape(Shape{view.extent(0), Index{H}, Index{d / H}}); }
  void run_memory(bool backward) {
    const auto scope = device.scope();
    typename Memory::Saved saved;
    memory.forward(device, heads(In<D, 2>(x)), saved, heads(y));
    if (backward) memory.backward(device, heads(In<D, 2>(x)), saved, heads(In<D, 2>(dy)), heads(dx));
  }
  void run_feed_forward(bool backward) {
    const auto scope = device.scope();
    typename SwiGluLayer<D, d, 4 * d>::Saved saved;
    feed_forward.forward(device, x, saved, y, {});
    if (backward) feed_forward.backward(device, x, saved, dy, dx);
  }
};

template <int d, int H, int n, int k, int r>
void verify() {
  Cpu<float> cpu(2);
  Reference<float> reference;
  const auto outputs = [](auto& device, bool memory) {
    Pair<std::remove_reference_t<decltype(device)>, d, H, n, k, r> pair(device, 9);
    memory ? pair.run_memory(true) : pair.run_feed_forward(true);
    std::vector<float> out(pair.y.data(), pair.y.data() + pair.y.size());
    out.insert(out.end(), pair.dx.data(), pair.dx.data() + pair.dx.size());
    return out;
  };
  demand_equal("the memory", outputs(cpu, true), outputs(reference, true), 1e-5);
  demand_equal("the feed-forward layer", outputs(cpu, false), outputs(reference, false), 1e-5);
}

template <int d, int H, int n, int k, int r, bool backward>
void memory_beside_feed_forward(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  Cpu<float> device(threads);
  Pair<Cpu<float>, d, H, n, k, r> pair(device, state.range(1));
  time_beside(
      state, threads, [&] { pair.run_memory(backward); }, [&] { pair.run_feed_forward(backward); });
}

#define MIDUS_BENCH(...)                                      \
  BENCHMARK_TEMPLATE(memory_beside_feed_forward, __VA_ARGS__) \
      ->ArgNames({"threads", "tokens"})                       \
      ->Args({2, 2048})                                       \
      ->UseManualTime()                                       \
      ->Unit(benchmark::kMillisecond)
MIDUS_BENCH(512, 8, 128, 16, 64, false);
MIDUS_BENCH(512, 8, 128, 16, 64, true);
MIDUS_BENCH(2048, 32, 256, 16, 128, false);
MIDUS_BENCH(2048, 32, 256, 16, 128, true);

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  midus::bench::verify<24, 3, 9, 4, 5>();
  return midus::bench::run_benchmarks(argc, argv);
}
