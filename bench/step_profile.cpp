// Where the time of a training step goes, op by op, for the model MIDUS_PROFILE_CONFIG at a given batch and
// length:
//
//     step_profile BATCH LENGTH [everything|PATTERN] [THREADS]
#include <cxxabi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "midus/hf.hpp"
#include "midus/midus.hpp"
#include "midus_model.hpp"
#include "support/counted.hpp"

namespace midus::bench {

/// Adds up the seconds of every kind of op.
template <class Inner>
struct Timed : test::Counted<Inner> {
  std::map<std::type_index, double> seconds;
};

template <class Inner, class Op>
void run(Timed<Inner>& device, const Op& op) {
  const auto begin = std::chrono::steady_clock::now();
  run(static_cast<test::Counted<Inner>&>(device), op);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  device.seconds[typeid(Op)] += time.count();
}

inline std::string name_of(std::type_index type) {
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, nullptr), &std::free);
  return name ? name.get() : type.name();
}

int profile(Index batch, Index length, const std::string& trained, int threads) {
  using Device = Timed<Cpu<float>>;
  Device device{{Cpu<float>(threads), {}}, {}};
  LanguageModel<midus_model::Model, Device> model(device);
  const Random random(1, "profile");
  Index next = 0;
  model.visit([&](const Path&, auto& parameter) {
    const auto values = parameter.master.flat();
    for (Index i = 0; i < values.size(); ++i) values(i) = static_cast<float>(0.05 * random.normal(next++));
  });
  model.train(trained);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(batch * length));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int32_t>(random.below(static_cast<Index>(i), midus_model::Model::vocab_size));
  const Shape<2> shape{{batch, length}};
  Optimizer optimizer(model, AdamW{});
  constexpr int steps = 20;
  double best = 1e9, total = 0;
  for (int step = 0; step < steps + 2; ++step) {
    if (step == 2) device.seconds.clear(), device.counts.clear(), total = 0;
    const auto begin = std::chrono::steady_clock::now();
    model.zero_gradients();
    model.loss_and_gradients({{ids.data(), shape}, {ids.data(), shape}},
                             1.0 / static_cast<double>(batch * length));
    optimizer.norm();
    optimizer.update(1e-3, step + 1);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count());
    total += time.count();
  }
  std::vector<std::pair<double, std::type_index>> rows;
  double in_ops = 0;
  for (const auto& [type, seconds] : device.seconds) rows.emplace_back(seconds, type), in_ops += seconds;
  std::sort(rows.rbegin(), rows.rend(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::printf("%.3f ms a step (best %.3f), %.0f tokens/s\n", 1e3 * total / steps, 1e3 * best,
              static_cast<double>(batch * length) * steps / total);
  for (const auto& [seconds, type] : rows)
    std::printf("%6.2f %%  %8.3f ms  %4d calls  %s\n", 100 * seconds / total, 1e3 * seconds / steps,
                device.counts[type] / steps, name_of(type).c_str());
  std::printf("%6.2f %%  %8.3f ms  outside of ops\n", 100 * (total - in_ops) / total,
              1e3 * (total - in_ops) / steps);
  return 0;
}

}  // namespace midus::bench

int main(int argc, char** argv) try {
  if (argc < 3) midus::fail("usage: step_profile BATCH LENGTH [everything|PATTERN] [THREADS]");
  return midus::bench::profile(std::atol(argv[1]), std::atol(argv[2]), argc > 3 ? argv[3] : "everything",
                               argc > 4 ? std::atoi(argv[4]) : 0);
} catch (const std::exception& error) {
  std::fprintf(stderr, "step_profile: %s\n", error.what());
  return 1;
}
