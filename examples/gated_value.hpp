// A value policy of one's own, and all that it takes: the gated memory of Memory+ (arXiv 2412.09764), per
// head. To copy from: docs/adding_a_value_policy.md says what each part is for.
#pragma once

#include <array>
#include <cmath>
#include <string_view>

#include "midus/midus.hpp"

namespace gated {

namespace mi = midus;

// --- an op of one's own: what is computed, and how the processor does it ---

/// y = x ⊙ silu(gate), with silu(g) = g σ(g).
template <class S>
struct Gate {
  mi::View<const S, 3> x;     // [R,H,r]
  mi::View<const S, 3> gate;  // [R,H,r]
  mi::View<S, 3> y;           // [R,H,r] overwritten
};

/// dx = dy ⊙ silu(gate), dgate = dy ⊙ x ⊙ σ(gate) (1 + gate (1 − σ(gate))).
template <class S>
struct GateBackward {
  mi::View<const S, 3> x;     // [R,H,r]
  mi::View<const S, 3> gate;  // [R,H,r]
  mi::View<const S, 3> dy;    // [R,H,r]
  mi::View<S, 3> dx;          // [R,H,r] overwritten; may be dy's own memory
  mi::View<S, 3> dgate;       // [R,H,r] overwritten
};

// Another device is another overload: test/layers/layers_test.cpp has one. A layer's unqualified `run` finds
// them by its argument, since they are in the op's namespace. A form is not inlined, so that its bits do not
// depend on its caller.

template <class S>
[[gnu::noinline]] void run(mi::Cpu<S>& device, const Gate<S>& op) {
  const mi::Index width = op.x.extent(1) * op.x.extent(2);
  device.parallel_for(op.x.extent(0), [&](mi::Index row, mi::Arena&) {
    const S *const x = op.x.row(row), *const gate = op.gate.row(row);
    S* const y = op.y.row(row);
    for (mi::Index i = 0; i < width; ++i) y[i] = x[i] * gate[i] / (1 + std::exp(-gate[i]));
  });
}

template <class S>
[[gnu::noinline]] void run(mi::Cpu<S>& device, const GateBackward<S>& op) {
  const mi::Index width = op.x.extent(1) * op.x.extent(2);
  device.parallel_for(op.x.extent(0), [&](mi::Index row, mi::Arena&) {
    const S *const x = op.x.row(row), *const gate = op.gate.row(row), *const dy = op.dy.row(row);
    S *const dx = op.dx.row(row), *const dgate = op.dgate.row(row);
    for (mi::Index i = 0; i < width; ++i) {
      const S sigma = 1 / (1 + std::exp(-gate[i])), g = dy[i];
      dgate[i] = g * x[i] * sigma * (1 + gate[i] * (1 - sigma));
      dx[i] = g * gate[i] * sigma;
    }
  });
}

// --- the policy ---

/// What transformers opens such a model with: it is put behind `modeling_midus.py`, whose classes it uses.
inline constexpr std::string_view gated_py = R"python(
class GatedMemory(MidusMemory):
    """Head-wise: the rows pooled from one bank are gated by a projection of the query (Memory+, arXiv 2412.09764)."""

    def __init__(self, config):
        H, D, rank = config.num_attention_heads, head_width(config), config.midus["value_rank"]
        super().__init__(config, H, D)
        self.values = nn.Parameter(torch.zeros(self.n * self.n, rank))
        self.gate_proj = nn.Parameter(torch.zeros(H, D, rank))
        self.value_proj = nn.Parameter(torch.zeros(H, rank, D))

    def initialise(self):
        super().initialise()
        nn.init.normal_(self.gate_proj, std=1 / math.sqrt(self.gate_proj.shape[1]))
        nn.init.normal_(self.value_proj, std=1 / math.sqrt(self.value_proj.shape[1]))

    def forward(self, a):
        """a [B,T,H,D]: what is added to the residual stream, [B,T,d]."""
        gate = torch.einsum("bthd,hdr->bthr", a, self.gate_proj)
        gated = self.pool(*self.look_up(a), self.values) * F.silu(gate)
        return torch.einsum("bthr,hrd->bthd", gated, self.value_proj).flatten(-2)


MEMORIES["gated"] = GatedMemory
)python";

/// y_h = (z_h ⊙ silu(q_h G^h)) P^h with z_h = Σ_i w_i V_{j_i}: HIVE whose pooled values are gated by a
/// projection of the head's query.
template <int Rank>
struct GatedValue {
  static constexpr std::string_view name = "gated";
  static constexpr int rank = Rank;
  static constexpr std::string_view python = gated_py;

  /// V [N,r], G [H,D,r] and P [H,r,D]. Zero V: the memory adds nothing at first; the rest at random: V can
  /// learn.
  static constexpr std::array<mi::TensorSpec, 3> tensors(const mi::ValueSizes& m) {
    using mi::Role, mi::Start, mi::TensorSpec;
    return {TensorSpec{"values", {m.slots, m.rank}, Role::table, Start::zero()},
            TensorSpec{
                "gate_proj", {m.heads, m.head_width, m.rank}, Role::matrix, Start::normal_by(m.head_width)},
            TensorSpec{
                "value_proj", {m.heads, m.rank, m.head_width}, Role::head_output, Start::normal_by(m.rank)}};
  }

  template <class Device, int Slots, int Heads, int HeadWidth>
  struct Layer {
    using S = typename Device::Scalar;
    static constexpr auto specs = tensors({Slots, Heads, HeadWidth, Rank});

    mi::Parameter<Device, 2> values{specs[0]};
    mi::Parameter<Device, 3> gate_proj{specs[1]}, value_proj{specs[2]};

    struct Saved {
      mi::Out<Device, 3> pooled, gate;  // z and q G, [R,H,r]
    };

    static void visit(auto& self, const mi::Path& path, auto&& f) {
      mi::visit_each(path, f, self.values, self.gate_proj, self.value_proj);
    }

    /// Adds the heads' reads to y [R,H,D].
    void forward(Device& device, const mi::MemoryRead<Device>& read, Saved& saved,
                 mi::Out<Device, 3> y) const {
      saved.pooled = device.allocate(mi::Shape{y.extent(0), y.extent(1), mi::Index{Rank}});
      saved.gate = device.allocate(saved.pooled.shape());
      const auto scope = device.scope();
      const auto gated = device.allocate(saved.pooled.shape());
      run(device, mi::ValuePool<S>{.slots = read.slots,
                                   .weights = read.weights,
                                   .values = values.value.reshape(bank),
                                   .pooled = saved.pooled});
      run(device, mi::HeadGemm<S>{.x = read.query, .w = gate_proj.value, .y = saved.gate});
      run(device, Gate<S>{.x = saved.pooled, .gate = saved.gate, .y = gated});
      run(device, mi::HeadGemm<S>{.x = gated, .w = value_proj.value, .y = y, .accumulate = true});
    }

    /// Overwrites dweights [R,H,k] and dquery [R,H,D].
    void backward(Device& device, const mi::MemoryRead<Device>& read, const Saved& saved,
                  mi::In<Device, 3> dy, mi::Out<Device, 3> dweights, mi::Out<Device, 3> dquery) const {
      const auto scope = device.scope();
      const auto dgated = device.allocate(saved.pooled.shape());
      const auto dgate = device.allocate(saved.pooled.shape());
      if (!value_proj.frozen()) {
        run(device, Gate<S>{.x = saved.pooled, .gate = saved.gate, .y = dgated});  // formed again
        run(device, mi::HeadGemmBackwardWeight<S>{.x = dgated, .dy = dy, .dw = value_proj.grad});
      }
      run(device, mi::HeadGemmBackwardInput<S>{.dy = dy, .w = value_proj.value, .dx = dgated});
      run(device,
          GateBackward<S>{.x = saved.pooled, .gate = saved.gate, .dy = dgated, .dx = dgated, .dgate = dgate});
      if (!gate_proj.frozen())
        run(device, mi::HeadGemmBackwardWeight<S>{.x = read.query, .dy = dgate, .dw = gate_proj.grad});
      run(device, mi::HeadGemmBackwardInput<S>{.dy = dgate, .w = gate_proj.value, .dx = dquery});
      run(device, mi::ValuePoolBackward<S>{.slots = read.slots,
                                           .weights = read.weights,
                                           .values = values.value.reshape(bank),
                                           .dpooled = dgated,
                                           .dweights = dweights,
                                           .dvalues = values.grad.reshape(bank)});
    }

   private:
    static constexpr mi::Shape<3> bank{{1, Slots, Rank}};
  };
};

/// Programs that know no model's type (`upscale`, `inspect`) have the policy by this line.
inline const bool is_known = mi::know_values<GatedValue<1>>("gated::GatedValue");

}  // namespace gated
