// AdamW over a model's trained parameters: groups, decay, clipping.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "midus/model/language_model.hpp"
#include "midus/ops/adamw.hpp"
#include "midus/ops/sum_of_squares.hpp"

namespace midus {

/// What a group of parameters has of its own.
struct ParameterGroup {
  double rate_scale = 1;  ///< times the schedule's rate
  double decay = -1;      ///< weight decay; negative: the optimizer's, and none for what `is_spared_decay`
  /// The largest norm of this group's gradient; 0: not clipped; negative: clipped together with all others.
  double clip = -1;
};

/// Settings of AdamW (arXiv 1711.05101; decoupled decay). A parameter belongs to the first group whose
/// pattern names it. Decay is 0 for norms and for the values of memories (`is_spared_decay`) unless a group
/// says otherwise. `clip` 0 switches clipping off.
struct AdamW {
  double learning_rate = 3e-4;  ///< the schedule's peak
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1;  ///< the largest global norm of what is trained and has no clip of its own
  std::vector<std::pair<std::string, ParameterGroup>> groups{};

  static constexpr double largest_beta = 0.9999999;                  ///< below 1, in float too
  static constexpr double least = 1e-45;                             ///< above 0, in float too
  static constexpr double most = std::numeric_limits<float>::max();  ///< finite, in float too
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  /// Throws `Error` where a number cannot be, or is another thing in the arithmetic of the update: every
  /// bound holds in float, whatever the device computes in.
  void check() const {
    const auto within = [](const char* name, double value, double low, double high) {
      if (!(value >= low && value <= high))  // refuses NaN
        fail("the optimizer's ", name, " must be in ", low, " ... ",
             high == largest_beta ? "0.9999999" : text(high), ", but is ", value);
      if (value > 0 && value < least)
        fail("the optimizer's ", name, " is ", value, ", which is 0 in float; the least above 0 is ", least);
    };
    within("learning_rate", learning_rate, 0, most);
    within("beta1", beta1, 0, largest_beta);
    within("beta2", beta2, 0, largest_beta);
    within("epsilon", epsilon, least, most);
    within("weight_decay", weight_decay, 0, most);
    within("clip", clip, 0, infinity);
    for (const auto& [pattern, group] : groups) {
      within("rate_scale", group.rate_scale, 0, most);
      within("learning_rate times a rate_scale", learning_rate * group.rate_scale, 0, most);
      within("decay of a group", group.decay, -1, most);
      within("clip of a group", group.clip, -1, infinity);
    }
  }
};

/// The moments of a model's trained parameters, and the update. The model must stay where it is, and train
/// the same parameters, while the optimizer is used; `norm` and `update` throw `Error` where it does not.
template <class Model>
class Optimizer {
  using D = typename Model::Device;
  using S = typename Model::Scalar;

 public:
  Optimizer(Model& model, const AdamW& settings)
      : model_(&model), settings_(settings), choice_(model.choice()) {
    settings_.check();
    const View<S, 1> gradients = model.gradients();
    exp_avg_ = Buffer<D, S>(gradients.size());
    exp_avg_sq_ = Buffer<D, S>(gradients.size());
    std::vector<bool> used(settings_.groups.size(), false);
    Index tiles = 0, most_tiles = 0;
    model.visit([&](const Path& path, auto& parameter) {
      if (parameter.frozen()) return;
      Entry entry{.name = path.str(), .value = parameter.master.flat(), .grad = parameter.grad.flat()};
      const Index at = entry.grad.data() - gradients.data();
      entry.exp_avg = {exp_avg_.view().data() + at, entry.grad.shape()};
      entry.exp_avg_sq = {exp_avg_sq_.view().data() + at, entry.grad.shape()};
      entry.group = settings_.groups.size();
      for (std::size_t g = settings_.groups.size(); g-- > 0;)
        if (matches(settings_.groups[g].first, entry.name)) entry.group = g;
      ParameterGroup group;
      if (entry.group < settings_.groups.size()) {
        group = settings_.groups[entry.group].second;
        used[entry.group] = true;
      }
      const double decay = is_spared_decay(parameter.role) ? 0 : settings_.weight_decay;
      entry.rate_scale = group.rate_scale;
      entry.decay = group.decay >= 0 ? group.decay : decay;
      entry.clip_group = group.clip >= 0 ? entry.group : settings_.groups.size();
      entry.first_tile = tiles;
      tiles += (entry.grad.size() + sum_of_squares_tile - 1) / sum_of_squares_tile;
      most_tiles = std::max(most_tiles, (entry.grad.size() + adamw_tile - 1) / adamw_tile);
      entries_.push_back(std::move(entry));
    });
    if (entries_.empty()) fail("the optimizer has nothing to train: call train(...) on the model first");
    for (std::size_t g = 0; g < used.size(); ++g)
      if (!used[g])
        fail("no trained parameter is left for the group \"", settings_.groups[g].first,
             "\" (its own rate, decay or clipping): none has that form, or all that have belong to an "
             "earlier group");
    sums_ = Buffer<D, double>(tiles);
    largest_ = Buffer<D, double>(3 * most_tiles);
    clip_norms_.resize(settings_.groups.size() + 1);
  }

  /// Throws `Error` where the model was moved away, or trains what was chosen after this optimizer was made.
  void require_same_choice() const {
    if (model_->choice() != choice_)
      fail(
          "what the model trains was chosen anew after this optimizer (or trainer) was made: make a new one, "
          "whose moments begin at zero");
  }

  /// The part of a step before the update: the norm of all gradients, and the clipping coefficients. Throws
  /// `Error` with the name of the first tensor whose gradient is not finite; nothing has been changed then.
  double norm() {
    require_same_choice();
    for (const Entry& entry : entries_)
      run(model_->device(), SumOfSquares<S>{.x = entry.grad, .sums = tile_sums(entry)});
    double total = 0;
    std::fill(clip_norms_.begin(), clip_norms_.end(), 0.0);
    for (Entry& entry : entries_) {
      entry.squares = entry.tile_squares = 0;
      const View<double, 1> sums = tile_sums(entry);
      for (Index i = 0; i < sums.size(); ++i) {
        entry.squares += sums(i);
        entry.tile_squares = std::max(entry.tile_squares, sums(i));
      }
      if (!std::isfinite(entry.squares)) fail("the gradient of ", entry.name, " is not finite");
      total += entry.squares;
      clip_norms_[entry.clip_group] += entry.squares;
    }
    return std::sqrt(total);
  }

  /// One step with this rate, after `norm()`; `step` counts from 1. Throws `Error` with the name of the first
  /// tensor whose values or moments would not be finite afterwards; nothing has been changed then.
  void update(double rate, Index step) {
    require_same_choice();
    for (Entry& entry : entries_) {
      const AdamwStep<S> op = step_of(entry, rate, step);
      entry.after = bound_after(entry, op);
      if (!within_range(entry.after)) entry.after = largest_after(op);
      if (!std::isfinite(entry.after.value) || !std::isfinite(entry.after.exp_avg) ||
          !std::isfinite(entry.after.exp_avg_sq))
        fail("the update would make numbers of ", entry.name, " or of its moments that are not finite (rate ",
             op.rate, ", norm of its gradient ", std::sqrt(entry.squares),
             "): a lower learning rate or clipping may help");
    }
    for (Entry& entry : entries_) {
      run(model_->device(), step_of(entry, rate, step));
      entry.now = entry.after;
    }
  }

  /// Forgets what is known of the sizes of values and moments: for who has written to them. The next update
  /// looks at each.
  void forget_sizes() {
    for (Entry& entry : entries_) entry.now = Sizes{};
  }

  /// Calls f(name, Σ of the squares of its gradient, as `norm` found it) for every trained parameter.
  template <class F>
  void visit_squares(F&& f) const {
    for (const Entry& entry : entries_) f(entry.name, entry.squares);
  }

  /// Calls f(name, exp_avg, exp_avg_sq) for every trained parameter.
  template <class F>
  void visit(F&& f) const {
    for (const Entry& entry : entries_) f(entry.name, entry.exp_avg, entry.exp_avg_sq);
  }

  const AdamW& settings() const { return settings_; }
  /// Elements that train.
  Index size() const {
    Index total = 0;
    for (const Entry& entry : entries_) total += entry.value.size();
    return total;
  }

 private:
  /// Bounds of the magnitudes of a parameter's values and moments; infinite: not known.
  struct Sizes {
    double value = AdamW::infinity, exp_avg = AdamW::infinity, exp_avg_sq = AdamW::infinity;
  };
  struct Entry {
    std::string name;
    View<S, 1> value, grad;
    View<S, 1> exp_avg{}, exp_avg_sq{};
    std::size_t group = 0, clip_group = 0;
    double rate_scale = 1, decay = 0;
    Index first_tile = 0;
    double squares = 0, tile_squares = 0;  // of the gradient, and of its largest tile
    Sizes now{}, after{};
  };

  AdamwStep<S> step_of(const Entry& entry, double rate, Index step) const {
    return {.value = entry.value,
            .grad = entry.grad,
            .exp_avg = entry.exp_avg,
            .exp_avg_sq = entry.exp_avg_sq,
            .rate = rate * entry.rate_scale,
            .beta1 = settings_.beta1,
            .beta2 = settings_.beta2,
            .epsilon = settings_.epsilon,
            .decay = entry.decay,
            .grad_scale = coefficient(entry.clip_group),
            .step = step};
  }

  /// What no number after the step can exceed, whatever the gradient's elements are. Means of what was and
  /// what comes exceed neither; epsilon is the least that the change is divided by.
  static Sizes bound_after(const Entry& entry, const AdamwStep<S>& op) {
    const double grad = op.grad_scale * std::sqrt(entry.tile_squares);
    const double exp_avg = std::max(entry.now.exp_avg, grad);
    const double rate = op.rate / (1 - std::pow(op.beta1, static_cast<double>(op.step)));
    const double change = rate * exp_avg / std::min(1.0, op.epsilon);  // and what is divided
    return {std::abs(1 - op.rate * op.decay) * entry.now.value + change, exp_avg,
            std::max(entry.now.exp_avg_sq, grad * grad)};
  }

  /// Whether all of it is far enough from overflow for rounding not to matter.
  static bool within_range(const Sizes& sizes) {
    constexpr double most = std::numeric_limits<S>::max() / 8;
    return sizes.value <= most && sizes.exp_avg <= most && sizes.exp_avg_sq <= most;  // false for NaN
  }

  /// The same, of every number that the step would leave.
  Sizes largest_after(const AdamwStep<S>& op) const {
    const Index tiles = (op.value.size() + adamw_tile - 1) / adamw_tile;
    const View<double, 2> largest(largest_.view().data(), Shape{tiles, Index{3}});
    run(model_->device(), AdamwLargest<S>{.step = op, .largest = largest});
    Sizes sizes{0, 0, 0};
    for (Index i = 0; i < tiles; ++i) {
      sizes.value = std::max(sizes.value, largest(i, 0));
      sizes.exp_avg = std::max(sizes.exp_avg, largest(i, 1));
      sizes.exp_avg_sq = std::max(sizes.exp_avg_sq, largest(i, 2));
    }
    return sizes;
  }

  View<double, 1> tile_sums(const Entry& entry) const {
    const Index tiles = (entry.grad.size() + sum_of_squares_tile - 1) / sum_of_squares_tile;
    return {sums_.view().data() + entry.first_tile, Shape<1>{{tiles}}};
  }

  double coefficient(std::size_t clip_group) const {
    const double most =
        clip_group < settings_.groups.size() ? settings_.groups[clip_group].second.clip : settings_.clip;
    const double norm = std::sqrt(clip_norms_[clip_group]);
    return most > 0 && norm > most ? most / norm : 1;
  }

  Model* model_;
  AdamW settings_;
  std::uint64_t choice_;  // of what trains
  std::vector<Entry> entries_;
  std::vector<double> clip_norms_;  // sums of squares by clip group, the common one last
  Buffer<D, S> exp_avg_, exp_avg_sq_;
  Buffer<D, double> sums_, largest_;
};

}  // namespace midus
