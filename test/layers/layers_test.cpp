// What holds for every layer and every block: its backward is the derivative of its forward, backward adds to
// the gradients of parameters and fills that of the input, the processor agrees with the plain loops, bits
// depend neither on threads nor on what is frozen, and what is saved is what is loaded. A new layer is one
// adapter and one line of the list `Layers`.
#include <cstring>
#include <map>
#include <set>

#include "../../examples/gated_value.hpp"
#include "midus/io/safetensors.hpp"
#include "midus/midus.hpp"
#include "reference/reference.hpp"
#include "support/catch.hpp"
#include "support/devices.hpp"
#include "support/files.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

// The op of a user's own value policy on another device, in plain loops.
namespace gated {

template <class S>
void run(mi::Reference<S>& device, const Gate<S>& op) {
  device.work([&] {
    for (mi::Index i = 0; i < op.x.size(); ++i) {
      const S gate = op.gate.data()[i];
      op.y.data()[i] = op.x.data()[i] * gate * mi::sigmoid(gate);
    }
  });
}
template <class S>
void run(mi::Reference<S>& device, const GateBackward<S>& op) {
  device.work([&] {
    for (mi::Index i = 0; i < op.x.size(); ++i) {
      const S gate = op.gate.data()[i], s = mi::sigmoid(gate), dy = op.dy.data()[i];
      op.dgate.data()[i] = dy * op.x.data()[i] * s * (S(1) + gate * (S(1) - s));
      op.dx.data()[i] = dy * gate * s;
    }
  });
}

}  // namespace gated

namespace midus {
namespace {

// --- every layer as y [R,out] of x [R,in] ---

/// What most adapters are.
template <int In, int Out>
struct Adapter {
  static constexpr int in = In, out = Out;
  static constexpr int head_dim = 4;         // of the rotary tables
  static constexpr bool reads_x = true;      // or only the tokens
  static constexpr bool adds_to_y = false;   // or overwrites it
  static constexpr bool adds_to_dx = false;  // or overwrites it
};

template <class D>
struct Linear : Adapter<5, 7> {
  LinearLayer<D, in, out> layer;
  void forward(D& device, const Sequences<D>&, In<D, 2> x, Out<D, 2> y) { layer.forward(device, x, y); }
  void backward(D& device, const Sequences<D>&, In<D, 2> x, In<D, 2> dy, Out<D, 2> dx) {
    layer.backward(device, x, dy, dx);
  }
};

template <class D>
struct Norm : Adapter<9, 9> {
  static constexpr bool adds_to_dx = true;
  RmsNormLayer<D, in> layer;
  typename RmsNormLayer<D, in>::Saved saved;
  void forward(D& device, const Sequences<D>&, In<D, 2> x, Out<D, 2> y) {
    layer.forward(device, x, saved, y);
  }
  void backward(D& device, const Sequences<D>&, In<D, 2> x, In<D, 2> dy, Out<D, 2> dx) {
    layer.backward(device, x, saved, dy, dx);
  }
};

template <class D>
struct TokenEmbedding : Adapter<1, 6> {
  static constexpr bool reads_x = false;
  EmbeddingLayer<D, 16, out> layer;  // the tokens' positions serve as ids, so that some occur often
  void forward(D& device, const Sequences<D>& tokens, In<D, 2>, Out<D, 2> y) {
    layer.forward(device, tokens.positions, y);
  }
  void backward(D& device, const Sequences<D>& tokens, In<D, 2>, In<D, 2> dy, Out<D, 2> dx) {
    layer.backward(device, tokens.positions, dy);
    device.fill(dx, typename D::Scalar(0));
  }
};

template <class D>
struct Heads : Adapter<7, 24> {  // without the output projection
  AttentionHeads<D, in, 6, 2, head_dim> layer;
  typename AttentionHeads<D, in, 6, 2, head_dim>::Saved saved;
  void forward(D& device, const Sequences<D>& tokens, In<D, 2> x, Out<D, 2> y) {
    layer.forward(device, tokens, x, saved);
    device.copy(In<D, 2>(saved.y.reshape(y.shape())), y);
  }
  void backward(D& device, const Sequences<D>& tokens, In<D, 2> x, In<D, 2> dy, Out<D, 2> dx) {
    layer.backward(device, tokens, x, saved, dy.reshape(saved.y.shape()), dx);
  }
};

template <class D>
struct SelfAttention : Adapter<7, 7> {
  AttentionLayer<D, in, 3, 1, head_dim> layer;
  typename AttentionLayer<D, in, 3, 1, head_dim>::Saved saved;
  void forward(D& device, const Sequences<D>& tokens, In<D, 2> x, Out<D, 2> y) {
    layer.forward(device, tokens, x, saved, y, {});
  }
  void backward(D& device, const Sequences<D>& tokens, In<D, 2> x, In<D, 2> dy, Out<D, 2> dx) {
    layer.backward(device, tokens, x, saved, dy, dx);
  }
};

template <class D>
struct FeedForward : Adapter<6, 6> {
  SwiGluLayer<D, in, 11> layer;
  typename SwiGluLayer<D, in, 11>::Saved saved;
  void forward(D& device, const Sequences<D>&, In<D, 2> x, Out<D, 2> y) {
    layer.forward(device, x, saved, y, {});
  }
  void backward(D& device, const Sequences<D>&, In<D, 2> x, In<D, 2> dy, Out<D, 2> dx) {
    layer.backward(device, x, saved, dy, dx);
  }
};

/// A memory behind `HeadCount` heads.
template <class D, int Width, int HeadCount, class Memory>
struct Behind : Adapter<Width, Width> {
  static constexpr bool adds_to_y = true;
  using LayerType = typename Memory::template Layer<D, Width, HeadCount, Width / HeadCount>;
  LayerType layer;
  typename LayerType::Saved saved;
  static auto by_head(auto x) {
    return x.reshape(Shape{x.extent(0), Index{HeadCount}, Index{Width / HeadCount}});
  }
  void forward(D& device, const Sequences<D>&, In<D, 2> x, Out<D, 2> y) {
    layer.forward(device, by_head(x), saved, by_head(y));
  }
  void backward(D& device, const Sequences<D>&, In<D, 2> x, In<D, 2> dy, Out<D, 2> dx) {
    layer.backward(device, by_head(x), saved, by_head(dy), by_head(dx));
  }
};
template <class D>
using Hive = Behind<D, 12, 3, HeadwiseMemory<3, 5, 3, FactorizedValue<7>>>;
template <class D>
using HiveOfOneHead = Behind<D, 6, 1, HeadwiseMemory<1, 4, 4, FactorizedValue<2>>>;
template <class D>
using DenseBanks = Behind<D, 12, 3, HeadwiseMemory<3, 4, 2, DenseValue>>;
template <class D>
using OwnValues = Behind<D, 12, 3, HeadwiseMemory<3, 5, 3, gated::GatedValue<7>>>;
template <class D>
using BlockLevel = Behind<D, 8, 2, ProductKeyMemory<3, 4, 2, 6>>;

/// A block: its gradient is changed in place.
template <class D, int Width, class BlockType>
struct InStack : Adapter<Width, Width> {
  BlockType layer;
  typename BlockType::Saved saved;
  void forward(D& device, const Sequences<D>& tokens, In<D, 2> x, Out<D, 2> y) {
    layer.forward(device, tokens, x, saved, y);
  }
  void backward(D& device, const Sequences<D>& tokens, In<D, 2>, In<D, 2> dy, Out<D, 2> dx) {
    device.copy(dy, dx);
    layer.backward(device, tokens, saved, dx);
  }
};
template <class D>
using BaseBlock = InStack<D, 8, TransformerBlock<D, 8, Attention<4, KvHeads<2>, HeadDim<4>>, SwiGlu<10>>>;
template <class D, class Memory>
using Inserted = InStack<D, 12, MemoryBlockLayer<D, 12, Attention<3, KvHeads<1>>, Memory>>;
template <class D>
using HiveBlock = Inserted<D, HeadwiseMemory<3, 5, 3, FactorizedValue<5>>>;
template <class D>
using DenseBlock = Inserted<D, HeadwiseMemory<3, 4, 3, DenseValue>>;
template <class D>
using OwnBlock = Inserted<D, HeadwiseMemory<3, 5, 3, gated::GatedValue<4>>>;
template <class D>
using PkmBlock = Inserted<D, ProductKeyMemory<2, 5, 3, 4>>;

template <template <class> class Layer>
struct Of {
  template <class D>
  using On = Layer<D>;
};
using Layers =
    std::tuple<Of<Linear>, Of<Norm>, Of<TokenEmbedding>, Of<Heads>, Of<SelfAttention>, Of<FeedForward>,
               Of<Hive>, Of<HiveOfOneHead>, Of<DenseBanks>, Of<OwnValues>, Of<BlockLevel>, Of<BaseBlock>,
               Of<HiveBlock>, Of<DenseBlock>, Of<OwnBlock>, Of<PkmBlock>>;

// --- the case ---

/// Forward and backward of a layer with random parameters, all trained but those of `frozen`.
template <class Choice>
struct LayerCase {
  Index batch = 2, length = 5;
  std::set<std::string> frozen{};
  std::map<std::string, std::vector<float>> loaded{};  // in place of the random parameters

  template <class D>
  void operator()(Tensors<D>& t) const {
    using Layer = typename Choice::template On<D>;
    Layer layer;
    layer.layer.visit(layer.layer, Path("layer"), [&](const Path& path, auto& parameter) {
      const std::string name = path.str();
      const auto values = loaded.find(name);
      if (values == loaded.end())
        parameter.value = t.weight(name, parameter.shape, 0.5);
      else
        parameter.value = t.make(name, parameter.shape,
                                 [&](Index i) { return values->second[static_cast<std::size_t>(i)]; });
      if (!frozen.contains(name)) parameter.grad = t.random("start of " + name, parameter.shape);
    });
    const Index rows = batch * length;
    const Shape<2> table{{length, Layer::head_dim / 2}};
    const auto angle = [](Index i) {
      return 0.3 * static_cast<double>(i / 2) / static_cast<double>(1 + i % 2);
    };
    const auto cos = t.make("cos", table, [&](Index i) { return std::cos(angle(i)); });
    const auto sin = t.make("sin", table, [&](Index i) { return std::sin(angle(i)); });
    const auto positions = t.integers(Shape{rows}, [&](Index i) { return i % length; });
    const Sequences<D> tokens{batch, length, positions, cos, sin};

    const Shape<2> x_shape{{rows, Layer::in}}, y_shape{{rows, Layer::out}};
    const auto x = t.random("x", x_shape);
    const auto y = Layer::adds_to_y ? t.random("start of y", y_shape) : t.output(y_shape);
    layer.forward(t.device, tokens, x, y);
    t.keep("y", y, long_sum);
    const auto dy = t.random("dy", y_shape);
    const auto dx = Layer::adds_to_dx ? t.random("start of dx", x_shape) : t.output(x_shape);
    layer.backward(t.device, tokens, x, dy, dx);
    t.keep("dx", dx, long_sum);
    layer.layer.visit(layer.layer, Path("layer"), [&](const Path& path, auto& parameter) {
      if (!parameter.frozen()) t.keep("gradient of " + path.str(), parameter.grad, long_sum);
    });
  }

  /// Several sums after one another: what `check_against_reference` allows grows with the root.
  static constexpr Index long_sum = 10000;
};

/// The names of a layer's parameters.
template <class Choice>
std::vector<std::string> names() {
  typename Choice::template On<Cpu<float>> layer;
  std::vector<std::string> out;
  layer.layer.visit(layer.layer, Path("layer"), [&](const Path& path, auto&) { out.push_back(path.str()); });
  return out;
}

// --- the properties ---

TEMPLATE_LIST_TEST_CASE("layers: backward is the derivative of forward, to 1e-11", "[gradient]", Layers) {
  using Layer = typename TestType::template On<Cpu<double>>;
  std::vector<GradientOf> gradients;
  if (Layer::reads_x) gradients.push_back({"x", "dx", Layer::adds_to_dx ? "start of dx" : ""});
  for (const std::string& name : names<TestType>())
    gradients.push_back({name, "gradient of " + name, "start of " + name});
  check_complex_step(LayerCase<TestType>{}, gradients, {{"y", "dy"}});
}

TEMPLATE_LIST_TEST_CASE("layers: the processor agrees with plain loops, with the same bits for any threads",
                        "", Layers) {
  for (const auto& shape : {LayerCase<TestType>{}, LayerCase<TestType>{.batch = 3, .length = 1},
                            LayerCase<TestType>{.batch = 1, .length = 9}}) {
    INFO("batch " << shape.batch << " length " << shape.length);
    check_op<Cpu<float>>(shape);
    check_op<Cpu<double>>(shape);
  }
}

TEMPLATE_LIST_TEST_CASE("layers: freezing a parameter takes away its gradient and changes no other bit", "",
                        Layers) {
  const Results all = results_of<Cpu<float>>(LayerCase<TestType>{}, false, 2);
  std::set<std::string> everything;
  for (const std::string& name : names<TestType>()) everything.insert(name);
  std::vector<std::set<std::string>> choices{everything};
  for (const std::string& name : everything) choices.push_back({name});
  for (const std::set<std::string>& frozen : choices) {
    Results expected = all;
    for (const std::string& name : frozen) expected.erase("gradient of " + name);
    INFO("frozen: " << (frozen.size() > 1 ? "everything" : *frozen.begin()));
    check_same_bits(expected, results_of<Cpu<float>>(LayerCase<TestType>{.frozen = frozen}, false, 2));
  }
}

TEMPLATE_LIST_TEST_CASE("layers: what is saved by name is what is loaded, and computes the same bits", "",
                        Layers) {
  const test::TemporaryDirectory directory;
  std::vector<test::TestTensor> tensors;
  typename TestType::template On<Cpu<float>> layer;
  layer.layer.visit(layer.layer, Path("layer"), [&](const Path& path, const auto& parameter) {
    Tensors<Cpu<float>> t(1);
    const auto values = t.random(path.str(), parameter.shape, 0.5);
    const auto& extents = parameter.shape.extents;
    tensors.push_back({path.str(),
                       Dtype::f32,
                       {std::begin(extents), std::end(extents)},
                       {reinterpret_cast<const char*>(values.data()),
                        static_cast<std::size_t>(values.size()) * sizeof(float)}});
  });
  test::write_checkpoint_file(directory / "layer.safetensors", tensors);  // refuses a name that occurs twice
  const SafetensorsFile file(directory / "layer.safetensors");
  LayerCase<TestType> from_file;
  layer.layer.visit(layer.layer, Path("layer"), [&](const Path& path, const auto& parameter) {
    const StoredTensor& stored = *file.find(path.str());
    std::vector<float>& values = from_file.loaded[path.str()];
    values.resize(static_cast<std::size_t>(parameter.shape.size()));
    REQUIRE(stored.bytes.size() == values.size() * sizeof(float));
    std::memcpy(values.data(), stored.bytes.data(), stored.bytes.size());
  });
  check_same_bits(results_of<Cpu<float>>(LayerCase<TestType>{}, false, 2),
                  results_of<Cpu<float>>(from_file, false, 2));
}

}  // namespace
}  // namespace midus
