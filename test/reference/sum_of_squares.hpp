#pragma once

#include "midus/ops/sum_of_squares.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const SumOfSquares<S>& op) {
  device.work([&] {
    for (Index i = 0; i < op.sums.size(); ++i) op.sums(i) = 0;
    for (Index j = 0; j < op.x.size(); ++j)
      op.sums(j / sum_of_squares_tile) += real_part(op.x(j)) * real_part(op.x(j));
  });
}

}  // namespace midus
