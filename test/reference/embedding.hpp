#pragma once

#include "midus/ops/embedding.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const Embedding<S>& op) {
  device.work([&] {
    for (Index r = 0; r < op.y.extent(0); ++r)
      for (Index c = 0; c < op.y.extent(1); ++c) op.y(r, c) = op.table.at(op.ids(r) * op.y.extent(1) + c);
  });
}

template <class S>
void run(Reference<S>& device, const EmbeddingBackward<S>& op) {
  device.work([&] {
    for (Index r = 0; r < op.dy.extent(0); ++r)
      for (Index c = 0; c < op.dy.extent(1); ++c) op.dtable(op.ids(r), c) += op.dy(r, c);
  });
}

}  // namespace midus
