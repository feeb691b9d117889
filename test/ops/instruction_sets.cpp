// Prints the slots that look-ups of the same scores choose, and what functions are at their edges, for
// instruction_sets_test.sh.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "ops/product_key_problem.hpp"

using namespace midus;

namespace {

/// Selections alone: numbers with ties, infinities and NaN.
template <class S>
void select(Index n, Index k, std::uint64_t seed) {
  const Random random(seed, "scores");
  std::vector<S> x(static_cast<std::size_t>(n)), values(static_cast<std::size_t>(k + top_k_slack));
  for (Index i = 0; i < n; ++i) {
    const std::uint64_t kind = random.below(2 * i, 40);
    S& value = x[static_cast<std::size_t>(i)];
    value = static_cast<S>(random.below(2 * i + 1, 50));
    if (seed % 3 == 0) value = static_cast<S>(random.normal(i));
    if (seed % 5 == 1 && kind == 0) value = std::numeric_limits<S>::quiet_NaN();
    if (seed % 5 == 2 && kind == 0) value = std::numeric_limits<S>::infinity();
    if (seed % 5 == 3 && kind < 30) value = -std::numeric_limits<S>::infinity();
  }
  std::vector<std::int32_t> indices(values.size());
  top_k(x.data(), n, k, values.data(), indices.data());
  for (Index e = 0; e < k; ++e) std::printf(" %d", indices[static_cast<std::size_t>(e)]);
  std::printf("\n");
}

/// The op, with scores that are exact in every order of summation.
template <class S>
void look_up(const ProductKeyShape& shape) {
  ProductKeyProblem<S> problem(shape, 1, coarse);
  Cpu<S> device(1);
  run(device, problem.forward());
  for (const std::int32_t slot : problem.slots) std::printf(" %d", slot);
  std::printf("\n");
}

/// Roots and exponentials of what is no ordinary number, in every lane of a register.
template <class S>
void edges() {
  using Limits = std::numeric_limits<S>;
  for (const S x : {S(0), Limits::denorm_min(), Limits::min() / 2, Limits::max(), Limits::infinity(),
                    S(-1000), -Limits::infinity(), Limits::quiet_NaN()})
    for (Index lane = 0; lane < 16; ++lane) {
      S in[16] = {}, out[16];
      in[lane] = x;
      simd::for_packets<S>(16, [&](auto at) { at.store(out, simd::square_root<S>(at.load(in))); });
      std::printf(" %.5g",
                  std::isnan(out[lane]) ? 0.5 : static_cast<double>(out[lane]));  // NaN has two signs
      simd::for_packets<S>(16, [&](auto at) { at.store(out, simd::exp<S>(at.load(in))); });
      std::printf(" %.5g", std::isnan(out[lane]) ? 0.5 : static_cast<double>(out[lane]));
    }
  std::printf("\n");
}

template <class S>
void all() {
  edges<S>();
  std::uint64_t seed = 0;
  for (const Index n : {1, 2, 7, 8, 9, 16, 31, 33, 64, 100, 128, 255, 256, 511, 1000})
    for (const Index k : {1, 2, 3, 8, 15, 16, 32, 33, 64})
      if (k <= n)
        for (int repeat = 0; repeat < 15; ++repeat) select<S>(n, k, ++seed);
  look_up<S>({40, 2, 14, 33, 4});
  look_up<S>({40, 3, 16, 64, 8});
  look_up<S>({20, 1, 32, 128, 16});
  look_up<S>({9, 2, 6, 5, 5});
}

}  // namespace

int main() {
  all<float>();
  all<double>();
}
