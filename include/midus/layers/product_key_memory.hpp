// One product-key memory for a whole block: the paper's ablation that is not head-wise.
#pragma once

#include <array>

#include "midus/layers/linear.hpp"
#include "midus/layers/memory_read.hpp"
#include "midus/ops/product_key_top_k.hpp"
#include "midus/ops/value_pool.hpp"

namespace midus {

/// The tensors of a product-key memory of n² slots behind an attention whose heads are `inputs` wide
/// together. Zero values: it adds nothing at first.
constexpr std::array<TensorSpec, 4> product_key_memory_tensors(Index inputs, Index width, Index heads,
                                                               Index n, Index query_dim) {
  const std::array<TensorSpec, 2> keys = sub_key_tensors(heads, n, query_dim);
  return {
      TensorSpec{"query_proj.weight", {heads * query_dim, inputs}, Role::matrix, Start::normal_by(inputs)},
      keys[0], keys[1], TensorSpec{"values", {n * n, width}, Role::table, Start::zero()}};
}

/// Queries are a projection of the concatenated attention heads to MemoryHeads heads of width QueryDim; all
/// of them read one bank V [n²,d], and their reads are summed (arXiv 1907.05242, 2412.09764).
template <class Device, int Inputs, int Width, int MemoryHeads, int Keys, int TopK, int QueryDim>
struct ProductKeyMemoryLayer {
  static_assert(MemoryHeads >= 1, "ProductKeyMemory: MemoryHeads must be at least 1");
  static_assert(TopK >= 1, "ProductKeyMemory: TopK must be at least 1");
  static_assert(TopK <= Keys, "ProductKeyMemory: TopK must not exceed Keys");
  static_assert(QueryDim >= 2 && QueryDim % 2 == 0, "ProductKeyMemory: QueryDim must be even");
  using S = typename Device::Scalar;

  static constexpr std::array<TensorSpec, 4> specs =
      product_key_memory_tensors(Inputs, Width, MemoryHeads, Keys, QueryDim);

  LinearLayer<Device, Inputs, MemoryHeads * QueryDim> query_proj{specs[0]};
  Parameter<Device, 3> row_keys{specs[1]}, col_keys{specs[2]};
  Parameter<Device, 2> values{specs[3]};

  struct Saved {
    Out<Device, 3> query;  // [R,H_m,D_m]
    MemoryRead<Device> read;
  };

  static void visit(auto& self, const Path& path, auto&& f) {
    visit_each(path, f, self.query_proj.weight, self.row_keys, self.col_keys, self.values);
  }

  /// Adds the memory's output to y, [R,H,D] with H·D = Width or [R,1,Width]; a [R,H,D] are the attention's
  /// heads.
  void forward(Device& device, In<Device, 3> a, Saved& saved, Out<Device, 3> y) const {
    const Index rows = a.extent(0);
    const Shape<3> shape{{rows, MemoryHeads, TopK}};
    saved.query = device.allocate(Shape<3>{{rows, MemoryHeads, QueryDim}});
    saved.read = {device.template allocate_as<std::int32_t>(shape), device.allocate(shape)};
    query_proj.forward(device, flat(a), flat(saved.query));
    run(device, ProductKeyTopK<S>{.query = saved.query,
                                  .row_keys = row_keys.value,
                                  .col_keys = col_keys.value,
                                  .slots = saved.read.slots,
                                  .weights = saved.read.weights});
    run(device, ValuePool<S>{.slots = one_list(saved.read.slots),
                             .weights = one_list(saved.read.weights),
                             .values = values.value.reshape(bank),
                             .pooled = y.reshape(Shape<3>{{rows, 1, Width}}),
                             .accumulate = true});
  }

  /// Overwrites da [R,H,D].
  void backward(Device& device, In<Device, 3> a, const Saved& saved, In<Device, 3> dy,
                Out<Device, 3> da) const {
    const auto scope = device.scope();
    const auto dweights = device.allocate(saved.read.weights.shape());
    const auto dquery = device.allocate(saved.query.shape());
    run(device, ValuePoolBackward<S>{.slots = one_list(saved.read.slots),
                                     .weights = one_list(saved.read.weights),
                                     .values = values.value.reshape(bank),
                                     .dpooled = dy.reshape(Shape<3>{{a.extent(0), 1, Width}}),
                                     .dweights = one_list(dweights),
                                     .dvalues = values.grad.reshape(bank)});
    run(device, ProductKeyTopKBackward<S>{.query = saved.query,
                                          .row_keys = row_keys.value,
                                          .col_keys = col_keys.value,
                                          .slots = saved.read.slots,
                                          .weights = saved.read.weights,
                                          .dweights = dweights,
                                          .dquery = dquery,
                                          .drow_keys = row_keys.grad,
                                          .dcol_keys = col_keys.grad});
    query_proj.backward(device, flat(a), flat(dquery), flat(da));
  }

 private:
  static constexpr Shape<3> bank{{1, slots_of<Keys>(), Width}};

  template <class T>
  static View<T, 2> flat(View<T, 3> x) {
    return x.reshape(Shape{x.extent(0), x.extent(1) * x.extent(2)});
  }
  template <class T>
  static View<T, 3> one_list(View<T, 3> x) {  // [R,H_m,k] as [R,1,H_m·k]: the reads of all heads are summed
    return x.reshape(Shape{x.extent(0), Index{1}, x.extent(1) * x.extent(2)});
  }
};

/// Says in a model's type that its Memory blocks hold one product-key memory each:
/// `ProductKeyMemory<4, 128, 16, 64>`.
template <int MemoryHeads, int Keys, int TopK, int QueryDim>
struct ProductKeyMemory {
  static constexpr int memory_heads = MemoryHeads, keys = Keys, top_k = TopK, query_dim = QueryDim;

  template <class Device, int Width, int AttentionHeadCount, int HeadWidth>
  using Layer =
      ProductKeyMemoryLayer<Device, AttentionHeadCount * HeadWidth, Width, MemoryHeads, Keys, TopK, QueryDim>;
};

}  // namespace midus
