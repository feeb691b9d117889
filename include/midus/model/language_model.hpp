// What a user holds: a language model on a device.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/device/buffer.hpp"
#include "midus/layers/embedding.hpp"
#include "midus/model/batch.hpp"
#include "midus/model/expansion.hpp"
#include "midus/model/head_loss.hpp"
#include "midus/model/kv_cache.hpp"
#include "midus/model/llama.hpp"
#include "midus/model/parameter_store.hpp"
#include "midus/model/settings.hpp"
#include "midus/model/stack.hpp"
#include "midus/model/transformer_block.hpp"

namespace midus {

/// The shape of a model: `Llama<...>` or `Upscaled<Base, ...>`.
template <class C>
concept ModelConfig = requires {
  C::vocab_size;
  C::width;
  C::layers;
  typename C::AttentionConfig;
  typename C::Where;
};

/// A language model of shape `Config` on a device, which must outlive it. Movable: the views of its
/// parameters hold in the new place. What is asked of a model that was moved away, or whose memory was
/// released to a deeper one, is an `Error`.
template <ModelConfig Config, Device D>
class LanguageModel {
 public:
  using Shape = Config;
  using Device = D;
  using Scalar = typename D::Scalar;
  static constexpr int head_dim = Config::AttentionConfig::template head_dim<Config::width>();

 private:
  using Block =
      TransformerBlock<D, Config::width, typename Config::AttentionConfig, typename Config::FeedForward>;
  template <class Inserted>
  struct InsertedLayer {
    using type = typename Inserted::template Layer<D, Config::width, typename Config::AttentionConfig>;
  };
  struct NoInsertedLayer {
    using type = NoBlock;
  };
  using Memory = typename std::conditional_t<std::is_void_v<typename Config::Inserted>, NoInsertedLayer,
                                             InsertedLayer<typename Config::Inserted>>::type;
  using Blocks = Stack<D, Block, Config::layers, Memory, typename Config::Where>;

 public:
  static constexpr std::size_t depth = Blocks::depth;  ///< base layers and inserted blocks
  using Cache = KvCache<D, depth>;

  /// All parameters are zero and frozen; `initialise`, `load` or `upscale` fill them. Takes over the memory
  /// of `values` where names and sizes agree.
  explicit LanguageModel(D& device, const ModelSettings& settings = {}, ParameterStore<D> values = {})
      : device_{&device}, settings_(settings), rotary_(settings.rope, head_dim) {
    store_.bind([this](auto&& f) { this->visit(f); }, std::move(values));
    for (Block& block : blocks_.layers)
      block.input_layernorm.epsilon = block.post_attention_layernorm.epsilon = settings.rms_norm_eps;
    if constexpr (Config::Where::count > 0)
      for (Memory& block : blocks_.memory_blocks) block.input_layernorm.epsilon = settings.rms_norm_eps;
    norm_.epsilon = settings.rms_norm_eps;
  }
  LanguageModel(LanguageModel&&) = default;
  LanguageModel& operator=(LanguageModel&&) = default;

  D& device() const {
    require_whole();
    return *device_.at;
  }
  const ModelSettings& settings() const { return settings_; }

  /// Calls f(path, parameter) for every parameter, by checkpoint name, in a fixed order.
  template <class F>
  void visit(F&& f) {
    require_whole();
    visit(*this, f);
  }
  template <class F>
  void visit(F&& f) const {
    require_whole();
    visit(*this, f);
  }

  /// What was inserted, oldest first.
  std::vector<Expansion> expansions;

  // --- what trains ---

  /// Makes trainable what any of `wanted` says, and freezes all else: `inserted`, `inserted_all`,
  /// `everything`, or a pattern of names (`*` and `?`, see `matches`). A pattern that names nothing is an
  /// error. In a tied model `lm_head.weight` names the shared table.
  void train(const std::vector<std::string>& wanted) {
    std::vector<std::string> patterns = train_patterns(expansions, wanted);
    if constexpr (Config::tied)
      for (std::string& pattern : patterns)
        if (pattern == "lm_head.weight") pattern = "model.embed_tokens.weight";
    for (const std::string& pattern : patterns) {
      bool used = false;
      visit([&](const Path& path, const auto&) { used = used || matches(pattern, path.str()); });
      if (!used)
        fail("train: no parameter has the form \"", pattern,
             "\"; expected inserted, inserted:all, everything, or a pattern of names such as "
             "model.layers.0.mlp.up_proj.weight or *.memory.*");
    }
    const auto chosen = [&](std::string_view name) {
      return std::any_of(patterns.begin(), patterns.end(),
                         [&](const std::string& pattern) { return matches(pattern, name); });
    };
    store_.train([this](auto&& f) { this->visit(f); }, chosen);
    choice_ = ++choices;
    find_lowest();
  }
  /// How often what trains was chosen: gradients that were viewed under another number are gone.
  std::uint64_t choice() const {
    require_whole();
    return choice_;
  }
  void train(const std::string& wanted) { train(std::vector<std::string>{wanted}); }
  void train(std::initializer_list<std::string> wanted) { train(std::vector<std::string>(wanted)); }

  /// Stores the frozen parameters that the pattern names as bfloat16.
  void store_as_bfloat16(std::string_view pattern = "*") {
    store_.store_as_bfloat16([this](auto&& f) { this->visit(f); },
                             [&](std::string_view name) { return matches(pattern, name); });
  }

  /// Makes one frozen parameter stored as bfloat16, before it has values: the caller writes them to the view.
  template <class Parameter>
  View<bfloat16, 1> narrow(const Path& path, Parameter& parameter) {
    return store_.narrow(path.str(), parameter);
  }

  /// The first step of the stack that a gradient reaches: `depth` where none does.
  std::size_t lowest_step() const { return lowest_; }

  /// Whether a gradient goes below the head: to the last norm, or to a step of the stack.
  bool trains_below_head() const { return lowest_ < depth || !norm_.weight.frozen(); }

  /// Calls f(path, parameter) for the parameters of one step of the stack; the path begins in the block.
  template <class F>
  void visit_step(std::size_t step, F&& f) const {
    blocks_.visit_step(step, f);
  }

  /// The matrix that gives the logits, [V,d]: the embedding's own in a tied model.
  const Parameter<D, 2>& head() const {
    if constexpr (Config::tied)
      return embed_tokens_.weight;
    else
      return lm_head_.weight;
  }

  /// All gradients, flat. Backward adds to them.
  View<Scalar, 1> gradients() const { return store_.gradients(); }
  void zero_gradients() const { device().fill(store_.gradients(), Scalar(0)); }

  /// Hands the memory of the parameters over; the model is of no use afterwards, and says so.
  ParameterStore<D> release() && {
    require_whole();
    device_.at = nullptr;
    return std::move(store_);
  }

  // --- what it computes ---

  /// Adds the gradients of scale · Σ losses to the trained parameters' and returns Σ losses. With scale = 1 /
  /// (counted targets) of all batches of a step, the step's gradient is that of the mean over its tokens.
  LossSum loss_and_gradients(const Batch& batch, double scale, bool checkpointing = false) {
    check_batch(batch, Config::vocab_size);
    const auto scope = device().scope();
    const Sequences<D> tokens = place(batch.ids.extent(0), batch.ids.extent(1));
    const Out<D, 2> x = device().allocate(midus::Shape{tokens.rows(), Index{Config::width}});
    embed_tokens_.forward(device(), batch.ids.flat(), x);
    if (saved_ == nullptr) saved_ = std::make_unique<typename Blocks::Saved>();
    const Out<D, 2> top = blocks_.forward(device(), tokens, x, *saved_, lowest_, checkpointing);

    typename RmsNormLayer<D, Config::width>::Saved norm;
    const auto normed = device().allocate(top.shape());
    norm_.forward(device(), top, norm, normed);
    const bool below_head = trains_below_head();
    const auto dnormed = below_head ? device().allocate(top.shape()) : Out<D, 2>{};
    const LossSum loss = head_loss(device(), head(), normed, batch.targets.flat(), dnormed, scale);
    if (!below_head) return loss;

    const auto dx = device().allocate(top.shape());
    device().fill(dx, Scalar(0));
    norm_.backward(device(), top, norm, dnormed, dx);
    blocks_.backward(device(), tokens, *saved_, dx, lowest_, checkpointing);
    if (!embed_tokens_.weight.frozen()) embed_tokens_.backward(device(), batch.ids.flat(), dx);
    return loss;
  }

  /// Σ losses of a batch, without gradients.
  LossSum loss(const Batch& batch) {
    const auto scope = device().scope();
    return {device().sum(losses(batch)), counted_targets(batch.targets)};
  }

  /// The loss of every target of a batch, [B·T], 0 where it is ignored, in device memory that lives until the
  /// enclosing scope ends.
  Out<D, 1> losses(const Batch& batch) {
    check_batch(batch, Config::vocab_size);
    const auto out = device().allocate(midus::Shape{batch.ids.size()});
    const auto scope = device().scope();
    const auto normed = hidden(batch.ids);
    head_losses(device(), head(), normed, batch.targets.flat(), out);
    return out;
  }

  /// The logits of every position, [B·T,V], in device memory that lives until the enclosing scope ends.
  Out<D, 2> logits(View<const std::int32_t, 2> ids) {
    check_ids(ids, Config::vocab_size);
    const auto out = device().allocate(midus::Shape{ids.size(), Index{Config::vocab_size}});
    const auto scope = device().scope();
    const auto normed = hidden(ids);
    run(device(), Gemm<Scalar>{.x = normed, .w = head().value, .y = out});
    return out;
  }

  /// An empty cache for `batch` sequences of at most `capacity` tokens.
  Cache make_cache(Index batch, Index capacity) const {
    return Cache(batch, capacity, Config::AttentionConfig::kv_heads, head_dim);
  }

  /// Generation: appends ids [B,T] to what `cache` holds of B sequences from `first` on, which may have
  /// unequal lengths, and returns the logits of the last positions, [B,V], in device memory that lives until
  /// the enclosing scope ends.
  Out<D, 2> infer(View<const std::int32_t, 2> ids, Cache& cache, Index first = 0) {
    check_ids(ids, Config::vocab_size);
    const Index batch = ids.extent(0), length = ids.extent(1);
    if (first < 0 || first + batch > cache.batch())
      fail("infer: sequences ", first, " ... ", first + batch - 1, " do not fit a cache of ", cache.batch());
    const std::span<const std::int32_t> past =
        std::span(cache.used()).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(batch));
    for (const std::int32_t used : past)
      if (used + length > cache.capacity())
        fail("infer: ", used, " + ", length, " tokens of a sequence do not fit a cache of ",
             cache.capacity());
    const auto out = device().allocate(midus::Shape{batch, Index{Config::vocab_size}});
    const auto scope = device().scope();
    const Sequences<D> tokens = place(batch, length, past);
    Out<D, 2> x = device().allocate(midus::Shape{tokens.rows(), Index{Config::width}});
    embed_tokens_.forward(device(), ids.flat(), x);
    x = blocks_.infer(device(), tokens, x, cache.blocks(first, batch));
    if (!device().dry())
      for (Index b = 0; b < batch; ++b) cache.append(first + b, length);
    const auto last = device().allocate(midus::Shape{batch, Index{Config::width}});
    for (Index b = 0; b < batch; ++b)
      device().copy(In<D, 2>(x.slice(b * length + length - 1, 1)), last.slice(b, 1));
    const auto normed = device().allocate(last.shape());
    typename RmsNormLayer<D, Config::width>::Saved norm;
    norm_.forward(device(), last, norm, normed);
    run(device(), Gemm<Scalar>{.x = normed, .w = head().value, .y = out});
    return out;
  }

  /// Runs the stack over ids [B,T] and calls f(j, read, x, written) for every Memory block j: its
  /// `MemoryRead`, that is, which slots its heads retrieved, and their weights; the residual stream x [B·T,d]
  /// before it; and what its memory adds to that, [B·T,d]. What they view lives until f returns.
  template <class F>
  void memory_reads(View<const std::int32_t, 2> ids, F&& f) requires(Config::Where::count > 0) {
    check_ids(ids, Config::vocab_size);
    const auto scope = device().scope();
    const Sequences<D> tokens = place(ids.extent(0), ids.extent(1));
    const Out<D, 2> x = device().allocate(midus::Shape{tokens.rows(), Index{Config::width}});
    embed_tokens_.forward(device(), ids.flat(), x);
    if (saved_ == nullptr) saved_ = std::make_unique<typename Blocks::Saved>();
    blocks_.forward(device(), tokens, x, *saved_, 0, false);
    for (std::size_t j = 0; j < Config::Where::count; ++j) {
      const auto within = device().scope();
      const auto& saved = std::as_const(saved_->memory_blocks[j]);
      const In<D, 2> written = blocks_.memory_blocks[j].written(device(), saved);
      f(j, saved.memory.read, saved.x, written);
    }
  }

 private:
  static void visit(auto& self, auto&& f) {
    const Path model = Path("model");
    self.embed_tokens_.visit(self.embed_tokens_, model / "embed_tokens", f);
    Blocks::visit(self.blocks_, model, f);
    self.norm_.visit(self.norm_, model / "norm", f);
    if constexpr (!Config::tied) self.lm_head_.visit(self.lm_head_, Path("lm_head"), f);
  }

  void find_lowest() {
    lowest_ = embed_tokens_.weight.frozen() ? depth : 0;
    for (std::size_t step = depth; step-- > 0;)
      visit_step(step, [&](const Path&, const auto& parameter) {
        if (!parameter.frozen()) lowest_ = std::min(lowest_, step);
      });
  }

  /// The place of every token: `past` of its sequence came before, none where it is empty.
  Sequences<D> place(Index batch, Index length, std::span<const std::int32_t> past = {}) {
    const Index rows = batch * length,
                longest = past.empty() ? 0 : *std::max_element(past.begin(), past.end());
    rotary_.cover(std::max(longest + length, std::min<Index>(settings_.max_position_embeddings, 2048)));
    if (placed_batch_ != batch || placed_length_ != length || !past.empty()) {
      if (positions_.size() < rows + batch) positions_ = Buffer<D, std::int32_t>(rows + batch);
      const View<std::int32_t, 1> positions = positions_.view();
      for (Index b = 0; b < batch; ++b) {
        const std::int32_t before = past.empty() ? 0 : past[static_cast<std::size_t>(b)];
        for (Index t = 0; t < length; ++t) positions(b * length + t) = before + static_cast<std::int32_t>(t);
        positions(rows + b) = before;
      }
      placed_batch_ = past.empty() ? batch : -1, placed_length_ = length;
    }
    const View<const std::int32_t, 1> placed = positions_.view();
    Sequences<D> tokens{batch, length, placed.slice(0, rows), rotary_.cos(), rotary_.sin()};
    if (!past.empty()) tokens.past = placed.slice(rows, batch);
    return tokens;
  }

  /// The last norm's output [R,d] for whole sequences, saving nothing.
  Out<D, 2> hidden(View<const std::int32_t, 2> ids) {
    const Sequences<D> tokens = place(ids.extent(0), ids.extent(1));
    Out<D, 2> x = device().allocate(midus::Shape{tokens.rows(), Index{Config::width}});
    embed_tokens_.forward(device(), ids.flat(), x);
    typename Blocks::Saved nothing;
    x = blocks_.forward(device(), tokens, x, nothing, depth, false);
    typename RmsNormLayer<D, Config::width>::Saved norm;
    const auto normed = device().allocate(x.shape());
    norm_.forward(device(), x, norm, normed);
    return normed;
  }

  /// A pointer that a move leaves null.
  struct DevicePointer {
    D* at;
    explicit DevicePointer(D* device) : at(device) {}
    DevicePointer(DevicePointer&& other) noexcept : at(std::exchange(other.at, nullptr)) {}
    DevicePointer& operator=(DevicePointer&& other) noexcept {
      at = std::exchange(other.at, nullptr);
      return *this;
    }
  };

  void require_whole() const {
    if (device_.at == nullptr)
      fail(
          "this model is of no use any more: it was moved, or has been up-scaled away; use the model that "
          "was made of it");
  }

  DevicePointer device_;
  ModelSettings settings_;
  ParameterStore<D> store_;
  EmbeddingLayer<D, Config::vocab_size, Config::width> embed_tokens_;
  Blocks blocks_;
  RmsNormLayer<D, Config::width> norm_;
  struct NoHead {};
  [[no_unique_address]] std::conditional_t<Config::tied, NoHead,
                                           LinearLayer<D, Config::width, Config::vocab_size>>
      lm_head_;
  std::unique_ptr<typename Blocks::Saved> saved_;  // made once: a step allocates nothing
  RotaryTable<D> rotary_;
  Buffer<D, std::int32_t> positions_;
  Index placed_batch_ = -1, placed_length_ = -1;  // of a batch without a past
  std::size_t lowest_ = depth;
  std::uint64_t choice_ = 0;
  inline static std::atomic<std::uint64_t> choices{0};  // of all models: no two are the same
};

}  // namespace midus
