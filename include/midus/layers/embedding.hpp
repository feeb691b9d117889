// The token embedding.
#pragma once

#include "midus/layers/layer.hpp"
#include "midus/ops/embedding.hpp"

namespace midus {

/// The table of `vocab` tokens.
constexpr TensorSpec embedding_tensor(Index vocab, Index width) {
  return {"weight", {vocab, width}, Role::embedding};
}

/// y_r = W[ids_r] with W [Vocab, Width].
template <class Device, int Vocab, int Width>
struct EmbeddingLayer {
  using S = typename Device::Scalar;

  Parameter<Device, 2> weight{embedding_tensor(Vocab, Width)};

  struct Saved {};  // the ids, which the caller keeps anyway

  static void visit(auto& self, const Path& path, auto&& f) { visit_each(path, f, self.weight); }

  /// y [R,Width], ids [R] in 0 ... Vocab - 1.
  void forward(Device& device, View<const std::int32_t, 1> ids, Out<Device, 2> y) const {
    run(device, Embedding<S>{.ids = ids, .table = weight.value, .y = y});
  }

  /// Adds dy [R,Width] to the gradients of the rows `ids`; nothing where the table is frozen.
  void backward(Device& device, View<const std::int32_t, 1> ids, In<Device, 2> dy) const {
    if (!weight.frozen()) run(device, EmbeddingBackward<S>{.ids = ids, .dy = dy, .dtable = weight.grad});
  }
};

}  // namespace midus
