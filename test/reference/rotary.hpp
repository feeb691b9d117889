#pragma once

#include "midus/ops/rotary.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const Rotary<S>& op) {
  const Index half = op.x.extent(2) / 2;
  device.work([&] {
    for (Index r = 0; r < op.x.extent(0); ++r)
      for (Index h = 0; h < op.x.extent(1); ++h)
        for (Index i = 0; i < half; ++i) {
          const S cos = op.cos(op.positions(r), i);
          const S sin = op.inverse ? -op.sin(op.positions(r), i) : op.sin(op.positions(r), i);
          const S a = op.x(r, h, i), b = op.x(r, h, i + half);
          op.x(r, h, i) = a * cos - b * sin;
          op.x(r, h, i + half) = b * cos + a * sin;
        }
  });
}

}  // namespace midus
