// The training loop, a step at a time.
#pragma once

#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/train/batches.hpp"
#include "midus/train/flops.hpp"
#include "midus/train/optimizer.hpp"
#include "midus/train/schedule.hpp"
#include "midus/train/step_log.hpp"

namespace midus {

/// How long and on how much. A step takes `accumulate` micro-batches of `batch` windows of `length` tokens;
/// every counted token of a step weighs the same, whichever micro-batch it is in.
struct TrainOptions {
  Index batch = 16, length = 256, accumulate = 1;
  Index steps = 1000;
  Schedule schedule{};
  std::uint64_t seed = 1;  ///< of the order of the data
  bool shuffle = true;
  bool checkpointing = false;  ///< keep only the blocks' inputs, and form the rest again in backward
};

/// Where a run stands.
struct TrainerState {
  Index step = 0;    ///< updates done
  Index tokens = 0;  ///< counted targets so far
};

namespace detail {

/// Throws where a memory's values are a product of two factors, a table and a trained projection of each head
/// (HIVE's V and P), and both are all zero: then the gradient of each is zero too, and no step would ever
/// change them.
template <class Model>
void refuse_dead_memory(const Model& model) {
  const auto zero = [](const auto& parameter) {
    for (Index i = 0; i < parameter.shape.size(); ++i)
      if (static_cast<double>(parameter.value.at(i)) != 0) return false;
    return true;
  };
  struct Factors {
    std::string_view table, output;  // that are zero
    bool alive = false;
  };
  std::map<std::string, Factors> memories;
  model.visit([&](const Path& path, const auto& parameter) {
    const std::string name = path.str();
    if (parameter.role == Role::table) {
      Factors& memory = memories[name.substr(0, name.rfind('.'))];
      memory.table = parameter.name;
      memory.alive = memory.alive || !zero(parameter);
    } else if (parameter.role == Role::head_output && !parameter.frozen() && zero(parameter)) {
      memories[name.substr(0, name.rfind('.'))].output = parameter.name;
    }
  });
  for (const auto& [name, memory] : memories)
    if (!memory.alive && !memory.table.empty() && !memory.output.empty())
      fail("cannot train ", name, ": its ", memory.table, " and its ", memory.output,
           " are all zero, so their gradients are too; give ", memory.output,
           " random numbers, as up-scaling does");
}

}  // namespace detail

/// Trains what `model.train(...)` has chosen. The model and its device must outlive the trainer. After the
/// first step a step allocates nothing.
template <class Model>
class Trainer {
  using D = typename Model::Device;

 public:
  Trainer(Model& model, const AdamW& settings, Batches batches, const TrainOptions& options)
      : model_(model), options_(options), optimizer_(model, settings), batches_(std::move(batches)) {
    if (options.batch < 1 || options.accumulate < 1)
      fail("batch and accumulate must be at least 1, but are ", options.batch, " and ", options.accumulate);
    options.schedule.check(options.steps);
    detail::refuse_dead_memory(model);
    if (batches_.vocabulary() > Model::Shape::vocab_size)
      fail("the data has a vocabulary of ", batches_.vocabulary(), " tokens, the model one of ",
           Model::Shape::vocab_size);
    refuse_beyond_memory(options);
    const auto size = static_cast<std::size_t>(options.accumulate * options.batch * options.length);
    ids_.resize(size);
    targets_.resize(size);
  }
  Trainer(Model& model, const AdamW& settings, std::vector<DataSource> data, const TrainOptions& options)
      : Trainer(model, settings,
                Batches(std::move(data),
                        {.length = options.length, .seed = options.seed, .shuffle = options.shuffle}),
                options) {}
  Trainer(Model& model, const AdamW& settings, TokenFile data, const TrainOptions& options)
      : Trainer(model, settings, std::vector<DataSource>{DataSource(std::move(data))}, options) {}

  /// Does one step and tells of it; nothing once all steps are done. Throws `Error`, before any weight has
  /// changed, where the loss or a gradient is not finite.
  std::optional<StepRecord> step() {
    if (done()) return std::nullopt;
    const auto begin = std::chrono::steady_clock::now();
    before_ = batches_.state();
    Index counted = 0;
    for (Index i = 0; i < options_.accumulate; ++i)
      counted += batches_.next(writable(ids_, i), writable(targets_, i));
    if (counted == 0) fail("step ", state_.step + 1, ": no target counts, so there is nothing to learn from");
    model_.zero_gradients();
    double loss = 0;
    for (Index i = 0; i < options_.accumulate; ++i)
      loss +=
          model_.loss_and_gradients(micro_batch(i), 1 / static_cast<double>(counted), options_.checkpointing)
              .sum;
    loss /= static_cast<double>(counted);

    double norm = 0;
    try {
      norm = optimizer_.norm();
      if (!std::isfinite(loss)) fail("the loss is not finite (", loss, ")");
    } catch (const Error& error) {
      batches_.restore(before_);
      fail("step ", state_.step + 1, ": ", error.what(), "; the loss is ", loss,
           ". No weight has been changed. A lower learning rate or clipping may help; a weight that is not "
           "finite "
           "in the checkpoint has the same effect");
    }
    const double rate =
        options_.schedule.rate(state_.step, options_.steps, optimizer_.settings().learning_rate);
    optimizer_.update(rate, ++state_.step);
    state_.tokens += counted;

    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    StepRecord record;
    record.step = state_.step;
    record.loss = loss;
    record.learning_rate = rate;
    record.grad_norm = norm;
    record.tokens = state_.tokens;
    const auto tokens = static_cast<double>(ids_.size());
    record.tokens_per_s = tokens / seconds.count();
    if (peak_ > 0) record.peak_share = record.tokens_per_s * flops_per_token() / peak_;
    record.peak_bytes = peak_memory_bytes();
    record.time = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    return record;
  }

  bool done() const { return state_.step >= options_.steps; }
  const TrainOptions& options() const { return options_; }
  const TrainerState& state() const { return state_; }
  Batches& batches() { return batches_; }
  const Batches& batches() const { return batches_; }
  Optimizer<Model>& optimizer() { return optimizer_; }
  const Optimizer<Model>& optimizer() const { return optimizer_; }
  Model& model() { return model_; }
  const Model& model() const { return model_; }

  /// Goes on from a saved state; the moments and the place in the data are restored apart.
  void restore(const TrainerState& state) { state_ = state; }

  /// What the logged share of the peak refers to, in flops a second (`measure_peak`).
  void set_peak(double flops_per_second) { peak_ = flops_per_second; }
  double peak() const { return peak_; }
  double flops_per_token() const { return training_flops_per_token(model_, options_.length); }

  /// The bytes of activations that a step takes at once. Nothing is computed.
  std::size_t activation_bytes() {
    std::fill(ids_.begin(), ids_.end(), 0);
    std::fill(targets_.begin(), targets_.end(), 0);
    return model_.device().measure(
        [&] { model_.loss_and_gradients(micro_batch(0), 1, options_.checkpointing); });
  }

 private:
  /// A step that cannot fit by far is refused before anything is allocated, or measured, for it.
  static void refuse_beyond_memory(const TrainOptions& options) {
    const double windows = static_cast<double>(options.batch) * static_cast<double>(options.length);
    const double ids = windows * static_cast<double>(options.accumulate) * 2 * sizeof(std::int32_t);
    const double stream = windows * static_cast<double>(Model::Shape::width) * 2 * sizeof(typename D::Scalar);
    if (const std::string beyond = beyond_memory(ids + stream); !beyond.empty())
      fail("a step of ", options.accumulate, " times ", options.batch, " windows of ", options.length,
           " tokens needs ", memory_text(ids + stream), " at least, ", beyond);
  }

  View<std::int32_t, 2> writable(std::vector<std::int32_t>& from, Index i) {
    return {from.data() + i * options_.batch * options_.length, Shape{options_.batch, options_.length}};
  }
  Batch micro_batch(Index i) { return {writable(ids_, i), writable(targets_, i)}; }

  Model& model_;
  TrainOptions options_;
  Optimizer<Model> optimizer_;
  Batches batches_;
  BatchState before_;  // of the data, in case the step has to be given up
  std::vector<std::int32_t> ids_, targets_;
  TrainerState state_;
  double peak_ = 0;
};

/// The mean loss of a model on a whole token file, in nats per counted target. `each(done, all)` is called
/// after every batch.
template <class Model, class Each>
LossSum evaluate(Model& model, const EvaluationBatches& batches, Index rows, Each&& each) {
  rows = std::min(rows, batches.windows());
  const Shape<2> shape{{rows, batches.length()}};
  std::vector<std::int32_t> ids(static_cast<std::size_t>(shape.size())), targets(ids.size());
  LossSum total;
  for (Index i = 0; i < batches.batches(rows); ++i) {
    batches.fill(i, {ids.data(), shape}, {targets.data(), shape});
    const LossSum loss = model.loss({{ids.data(), shape}, {targets.data(), shape}});
    total.sum += loss.sum;
    total.count += loss.count;
    each(i + 1, batches.batches(rows));
  }
  if (total.count == 0)
    fail(batches.file().path().string(),
         ": no target counts (all loss weights are 0), so there is no mean loss");
  if (!std::isfinite(total.sum))
    fail(batches.file().path().string(), ": the loss is not finite (", total.sum,
         "): the model's weights or its "
         "activations are not");
  return total;
}
template <class Model>
LossSum evaluate(Model& model, const EvaluationBatches& batches, Index rows = 16) {
  return evaluate(model, batches, rows, [](Index, Index) {});
}

}  // namespace midus
