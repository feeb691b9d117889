// Look-up of random rows, and the sum of gradients into them.
#include "midus/ops/embedding_cpu.hpp"

#include "op_bench.hpp"
#include "reference/embedding.hpp"

namespace midus::bench {
namespace {

struct EmbeddingCase {
  Index R, V, d;
  bool backward = false;

  template <class D, class Go>
  void operator()(Tensors<D>& t, Go&& go) const {
    using S = typename D::Scalar;
    const Random random(1, "ids");
    const auto ids =
        t.integers(Shape{R}, [&](Index i) { return random.below(i, static_cast<std::uint64_t>(V)); });
    const auto table = t.random("table", Shape{V, d}), dtable = t.random("dtable", Shape{V, d});
    const auto dy = t.random("dy", Shape{R, d}), y = t.output(Shape{R, d});
    if (backward) {
      go([&] { run(t.device, EmbeddingBackward<S>{.ids = ids, .dy = dy, .dtable = dtable}); });
      t.keep("dtable", dtable);
    } else {
      go([&] { run(t.device, Embedding<S>{.ids = ids, .table = View<const S, 2>(table), .y = y}); });
      t.keep("y", y);
    }
  }
  double bytes() const { return 4.0 * static_cast<double>((backward ? 3 : 2) * R * d); }
  std::string title() const { return sizes({{"R", R}, {"V", V}, {"d", d}}); }
};

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) {
  using midus::bench::EmbeddingCase;
  midus::bench::add<EmbeddingCase>("forward", {9, 20, 12}, {{2048, 256, 128}, {4096, 50304, 768}});
  midus::bench::add<EmbeddingCase>("backward", {9, 20, 12, true},
                                   {{2048, 256, 128, true}, {4096, 50304, 768, true}});
  return midus::bench::run_benchmarks(argc, argv);
}
