// A step that trains only what was inserted beside one that trains everything: its share of the time, and its
// share of the arithmetic (train/flops.hpp: forward of all, the input's gradients above the lowest trained
// block, the weights' own gradients of what trains).
#include "bench_support.hpp"
#include "midus/midus.hpp"
#include "midus/train/flops.hpp"

namespace midus::bench {
namespace {

template <class Config>
struct Step {
  LanguageModel<Config, Cpu<float>> model;
  std::vector<std::int32_t> ids;
  Shape<2> shape;
  std::unique_ptr<Optimizer<LanguageModel<Config, Cpu<float>>>> optimizer;
  Index count = 0;

  Step(Cpu<float>& device, Index batch, Index length, const std::string& trained)
      : model(device), shape{{batch, length}} {
    initialise(model, 1);
    model.visit([&](const Path& path, auto& parameter) {  // slots that hold something
      if (parameter.role != Role::table) return;
      const Random random(1, path.str());
      const auto values = parameter.master.flat();
      for (Index i = 0; i < values.size(); ++i) values(i) = static_cast<float>(0.02 * random.normal(i));
    });
    const Random random(1, "ids");
    for (Index i = 0; i < shape.size(); ++i)
      ids.push_back(static_cast<std::int32_t>(random.below(i, Config::vocab_size)));
    model.train(trained);
    optimizer = std::make_unique<typename decltype(optimizer)::element_type>(model, AdamW{});
  }
  void operator()() {
    model.zero_gradients();
    model.loss_and_gradients({{ids.data(), shape}, {ids.data(), shape}},
                             1 / static_cast<double>(shape.size()));
    optimizer->norm();
    optimizer->update(1e-4, ++count);
  }
};

template <class Config>
void inserted_beside_everything(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(2));
  Cpu<float> device(threads);
  Step<Config> few(device, state.range(0), state.range(1), "model.memory_blocks.*"),
      all(device, state.range(0), state.range(1), everything);
  few(), all();
  time_beside(state, threads, few, all);
  const double of_time = 1 / state.counters["peer/ours"].value;
  const double of_flops = training_flops_per_token(few.model, state.range(1)) /
                          training_flops_per_token(all.model, state.range(1));
  state.counters["share of flops"] = of_flops;
  state.counters["share of time"] = of_time;
  state.counters["time/flops"] = of_time / of_flops;
}

// The models of compare_torch, with a Memory block before every second layer.
using Small = Upscaled<Llama<Vocab<256>, Width<128>, Layers<4>, Attention<4>, SwiGlu<352>, TiedHead>,
                       MemoryBlock<HeadwiseMemory<4, 64, 8, FactorizedValue<32>>>, BeforeLayers<1, 3>>;
using Medium =
    Upscaled<Llama<Vocab<4096>, Width<256>, Layers<6>, Attention<8, KvHeads<4>>, SwiGlu<704>, TiedHead>,
             MemoryBlock<HeadwiseMemory<8, 128, 16, FactorizedValue<64>>>, BeforeLayers<1, 3, 5>>;
BENCHMARK_TEMPLATE(inserted_beside_everything, Small)
    ->ArgNames({"B", "T", "threads"})
    ->Args({16, 128, 2})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_TEMPLATE(inserted_beside_everything, Medium)
    ->ArgNames({"B", "T", "threads"})
    ->Args({16, 256, 2})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) { return midus::bench::run_benchmarks(argc, argv); }
