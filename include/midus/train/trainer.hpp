// The training loop, a step at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "midus/train/batches.hpp"
#include "midus/train/beyond_memory.hpp"
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

struct BlockWithoutGradient {
  std::string name;  ///< "": there is none
  bool sure =
      true;  ///< false: all of the stack is without, and what lies above is not, as under a head of zeros
};

/// The first block of the stack in which something trains and nothing has got a gradient, after
/// `Optimizer::norm`.
template <class Model>
BlockWithoutGradient block_without_gradient(const Model& model, const Optimizer<Model>& optimizer) {
  std::map<std::string, double> squares;
  optimizer.visit_squares([&](const std::string& name, double sum) { squares[name] = sum; });
  std::map<const void*, std::string> names;  // of what trains, by the place of its gradient
  model.visit([&](const Path& path, const auto& parameter) {
    if (!parameter.frozen()) names[parameter.grad.data()] = path.str();
  });
  std::string without;
  double inside = 0, all = 0;
  for (std::size_t step = 0; step < Model::depth; ++step) {
    std::string block;
    double sum = 0;
    model.visit_step(step, [&](const Path& path, const auto& parameter) {
      if (parameter.frozen()) return;
      const std::string& name = names.at(parameter.grad.data());
      block = name.substr(0, name.size() - path.str().size() - 1);
      sum += squares.at(name);
    });
    inside += sum;
    if (sum == 0 && without.empty()) without = block;
  }
  for (const auto& [name, sum] : squares) all += sum;
  return {without, inside > 0 || all == 0};
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
    if (batches_.length() != options.length)
      fail("the batches have windows of ", batches_.length(), " tokens, the trainer's options a length of ",
           options.length, "; give both the same");
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

  /// Does one step and tells of it; nothing once all steps are done. A step whose windows have no counted
  /// target takes the windows that follow. Throws `Error` where the loss, a gradient or what the update would
  /// make is not finite, where a block cannot learn, and where the data cannot be read; after an error of any
  /// kind weights, moments, counters and the place in the data are those of before the step.
  std::optional<StepRecord> step() {
    if (done()) return std::nullopt;
    before_ = batches_.state();
    try {
      return next_step();
    } catch (const Error& error) {
      batches_.restore(before_);
      fail("step ", state_.step + 1, ": ", error.what(), ". No weight has been changed");
    } catch (...) {
      batches_.restore(before_);
      throw;
    }
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
  void restore(const TrainerState& state) {
    state_ = state;
    optimizer_.forget_sizes();
    if (state.step > 1) blocks_ = Blocks::learn;  // they were looked at in the first steps
  }

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

  StepRecord next_step() {
    const auto begin = std::chrono::steady_clock::now();
    optimizer_.require_same_choice();
    Index counted = 0;
    while (counted == 0)  // comes to an end: every file has a target that counts
      for (Index i = 0; i < options_.accumulate; ++i)
        counted += batches_.next(writable(ids_, i), writable(targets_, i));
    model_.zero_gradients();
    double loss = 0;
    for (Index i = 0; i < options_.accumulate; ++i)
      loss +=
          model_.loss_and_gradients(micro_batch(i), 1 / static_cast<double>(counted), options_.checkpointing)
              .sum;
    loss /= static_cast<double>(counted);

    const double rate =
        options_.schedule.rate(state_.step, options_.steps, optimizer_.settings().learning_rate);
    double norm = 0;
    try {
      norm = optimizer_.norm();
      if (!std::isfinite(loss)) fail("the loss is not finite");
    } catch (const Error& error) {
      fail(error.what(), "; the loss is ", loss,
           ". A lower learning rate or clipping may help; a weight that is not finite in the checkpoint has "
           "the "
           "same effect");
    }
    refuse_blocks_that_cannot_learn();
    optimizer_.update(rate, state_.step + 1);
    ++state_.step;
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

  /// A block whose output does not depend on any one of its trained tensors gets no gradient, now or ever.
  /// Looked for in the first step, and in the second where the first cannot tell.
  void refuse_blocks_that_cannot_learn() {
    if (blocks_ == Blocks::learn) return;
    const auto [block, sure] = detail::block_without_gradient(model_, optimizer_);
    if (!block.empty() && (sure || blocks_ == Blocks::unsure))
      fail(block,
           " cannot learn: the gradients of all that trains in it are zero, and will stay so. Give one of "
           "two factors that are both zero random numbers, as up-scaling does with a memory's projection of "
           "values, or train other tensors of the block");
    blocks_ = sure ? Blocks::learn : Blocks::unsure;
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
  enum class Blocks { not_seen, unsure, learn } blocks_ = Blocks::not_seen;
  double peak_ = 0;
};

/// The mean loss of a model on a whole token file, in nats per counted target. `each(done, all)` is called
/// after every batch.
template <class Model, class Each>
LossSum evaluate(Model& model, const EvaluationBatches& batches, Index rows, Each&& each) {
  rows = batches.rows(rows);
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
