// Cpu form of ops/sum_of_squares.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/ops/sum_of_squares.hpp"

namespace midus {

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const SumOfSquares<S>& op) {
  device.parallel_for(op.sums.size(), [&](Index task, Arena&) {
    constexpr Index lanes = 16;  // side by side, so that the compiler may use its vectors
    const Index first = task * sum_of_squares_tile,
                count = std::min(sum_of_squares_tile, op.x.size() - first);
    const S* const x = op.x.data() + first;
    double sums[lanes] = {};
    Index i = 0;
    for (; i + lanes <= count; i += lanes)
      for (Index j = 0; j < lanes; ++j)
        sums[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
    double total = 0;
    for (; i < count; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    for (const double sum : sums) total += sum;
    op.sums(task) = total;
  });
}

}  // namespace midus
