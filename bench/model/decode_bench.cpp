// Greedy decoding, one sequence, token by token, of a model that no cache holds: tokens a second, and the
// share of the least time that a token takes, which is that of reading once what it needs, weights, keys and
// values (roofline.hpp's reading, on as many threads). Beside it what four inserted blocks add: Memory
// blocks, or the full layers of LLaMA-Pro, whose place in the stack makes no difference to their cost.
#include <optional>

#include "bench_support.hpp"
#include "midus/midus.hpp"
#include "midus/model/sampling.hpp"

namespace midus::bench {
namespace {

template <int layers>
using Deep = Llama<Vocab<32000>, Width<1024>, Layers<layers>, Attention<16, KvHeads<4>>, SwiGlu<2816>>;
using Base = Deep<8>;
using LlamaPro = Deep<12>;
using Midus =
    Upscaled<Base, MemoryBlock<HeadwiseMemory<16, 128, 16, FactorizedValue<64>>>, BeforeLayers<1, 3, 5, 7>>;

/// A model behind a prompt, about to generate.
template <class Config>
class Decoder {
 public:
  Decoder(Cpu<float>& device, bool bfloat16_weights, Index context) : model_(device) {
    initialise(model_, 1);
    model_.visit([&](const Path&, auto& parameter) {  // slots that hold something
      if (parameter.role != Role::table) return;
      const auto values = parameter.master.flat();
      for (Index i = 0; i < values.size(); ++i) values(i) = 0.01F * static_cast<float>(i % 7 - 3);
    });
    if (bfloat16_weights) model_.store_as_bfloat16();
    const Random random(1, "ids");
    for (Index i = 0; i <= context; ++i)
      ids_.push_back(static_cast<std::int32_t>(random.below(i, Config::vocab_size)));
    cache_.emplace(model_.make_cache(1, context + 1));
    const auto scope = device.scope();
    model_.infer(ids(0, context), *cache_);
  }

  /// The token behind the context's last.
  std::int32_t operator()() {
    const auto scope = model_.device().scope();
    const auto last = static_cast<Index>(ids_.size()) - 1;
    cache_->truncate(0, last);
    return greedy_(View<const float, 1>(model_.infer(ids(last, 1), *cache_).flat()));
  }

  /// Ends the program where the decoded logits are not those of the full forward.
  void verify() {
    const auto scope = model_.device().scope();
    const auto count = static_cast<Index>(ids_.size());
    const auto numbers = [](const float* row) { return std::vector<float>(row, row + Config::vocab_size); };
    cache_->truncate(0, count - 1);
    const std::vector<float> decoded = numbers(model_.infer(ids(count - 1, 1), *cache_).data());
    demand_equal("logits", decoded, numbers(model_.logits(ids(0, count)).row(count - 1)), 1e-4);
  }

  /// What must be read for one token: of the weights, and the keys and values of those before it.
  double bytes() const {
    using Model = LanguageModel<Config, Cpu<float>>;
    double sum = 4.0 * 2 * Model::depth * Config::AttentionConfig::kv_heads * Model::head_dim *
                 static_cast<double>(ids_.size());
    model_.visit([&](const Path&, const auto& parameter) {
      double read = static_cast<double>(parameter.shape.size());
      if (parameter.role == Role::embedding) read = Config::width;  // a row
      if constexpr (Config::Where::count > 0) {
        using Memory = typename Config::Inserted::MemoryConfig;
        if (parameter.role == Role::table) read = Memory::heads * Memory::top_k * Memory::ValuePolicy::rank;
      }
      sum += read * (parameter.value.is_bfloat16() ? 2 : 4);
    });
    return sum;
  }

 private:
  View<const std::int32_t, 2> ids(Index begin, Index count) const {
    return {ids_.data() + begin, Shape<2>{{1, count}}};
  }

  LanguageModel<Config, Cpu<float>> model_;
  std::vector<std::int32_t> ids_;
  std::optional<typename LanguageModel<Config, Cpu<float>>::Cache> cache_;
  Sampler greedy_{{.temperature = 0}};
};

template <class Config>
void decode(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  const bool bfloat16_weights = state.range(1) != 0;
  const Index context = state.range(2);
  MemoryReader read(threads);  // in turns with the tokens: its speed swings with what neighbours do
  Cpu<float> device(threads);
  Decoder<Config> decoder(device, bfloat16_weights, context);
  std::optional<Decoder<Base>> base;
  if (!std::is_same_v<Config, Base>) base.emplace(device, bfloat16_weights, context);
  decoder.verify();
  double time = 0, of_base = 0, of_reading = 0;
  for (auto _ : state) {
    const double begin = clock_seconds(threads);
    benchmark::DoNotOptimize(decoder());
    const double between = clock_seconds(threads);
    if (base) benchmark::DoNotOptimize((*base)());
    const double end = clock_seconds(threads);
    read();
    of_reading += clock_seconds(threads) - end;
    of_base += end - between;
    time += between - begin;
    state.SetIterationTime(between - begin);
  }
  const auto tokens = static_cast<double>(state.iterations());
  const double gigabytes = tokens * MemoryReader::gigabytes / of_reading;
  state.counters["tokens/s"] = tokens / time;
  state.counters["MB"] = 1e-6 * decoder.bytes();
  state.counters["GB/s read"] = gigabytes;
  state.counters["%floor"] = 100 * 1e-9 * decoder.bytes() / gigabytes / (time / tokens);
  if (base) {
    state.counters["added ms"] = 1e3 * (time - of_base) / tokens;
    state.counters["added %"] = 100 * (time / of_base - 1);
  }
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "bf16", "context"})->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(30);
  for (const int threads : {1, 2})
    for (const int bfloat16_weights : {0, 1}) b->Args({threads, bfloat16_weights, 128});
  b->Args({2, 1, 2048});
}
BENCHMARK_TEMPLATE(decode, Base)->Apply(sizes);
BENCHMARK_TEMPLATE(decode, Midus)->Apply(sizes);
BENCHMARK_TEMPLATE(decode, LlamaPro)->Apply(sizes);

}  // namespace
}  // namespace midus::bench

int main(int argc, char** argv) { return midus::bench::run_benchmarks(argc, argv); }
