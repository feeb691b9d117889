// AdamW over a model's trained parameters: groups, decay, clipping.
#pragma once

#include <cmath>
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

  static constexpr double largest_beta = 0.9999999;  ///< below 1, in float too

  /// Throws `Error` where a number cannot be.
  void check() const {
    const auto within = [](const char* name, double value, double low, double high) {
      if (!(value >= low && value <= high))  // refuses NaN
        fail("the optimizer's ", name, " must be in ", low, " ... ",
             high == largest_beta ? "0.9999999" : text(high), ", but is ", value);
    };
    constexpr double most = std::numeric_limits<double>::max();
    within("learning_rate", learning_rate, 0, most);
    within("beta1", beta1, 0, largest_beta);
    within("beta2", beta2, 0, largest_beta);
    within("epsilon", epsilon, 1e-300, most);
    within("weight_decay", weight_decay, 0, most);
    within("clip", clip, 0, std::numeric_limits<double>::infinity());
    for (const auto& [pattern, group] : groups) {
      within("rate_scale", group.rate_scale, 0, most);
      within("decay of a group", group.decay, -1, most);
      within("clip of a group", group.clip, -1, std::numeric_limits<double>::infinity());
    }
  }
};

/// The moments of a model's trained parameters, and the update. The model must stay where it is, and train
/// the same parameters, while the optimizer is used.
template <class Model>
class Optimizer {
  using D = typename Model::Device;
  using S = typename Model::Scalar;

 public:
  Optimizer(Model& model, const AdamW& settings) : model_(&model), settings_(settings) {
    settings_.check();
    const View<S, 1> gradients = model.gradients();
    exp_avg_ = Buffer<D, S>(gradients.size());
    exp_avg_sq_ = Buffer<D, S>(gradients.size());
    std::vector<bool> used(settings_.groups.size(), false);
    Index tiles = 0;
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
      entries_.push_back(std::move(entry));
    });
    if (entries_.empty()) fail("the optimizer has nothing to train: call train(...) on the model first");
    for (std::size_t g = 0; g < used.size(); ++g)
      if (!used[g])
        fail("no trained parameter is left for the group \"", settings_.groups[g].first,
             "\" (its own rate, decay or clipping): none has that form, or all that have belong to an "
             "earlier group");
    sums_ = Buffer<D, double>(tiles);
    clip_norms_.resize(settings_.groups.size() + 1);
  }

  /// The part of a step before the update: the norm of all gradients, and the clipping coefficients. Throws
  /// `Error` with the name of the first tensor whose gradient is not finite; nothing has been changed then.
  double norm() {
    for (const Entry& entry : entries_)
      run(model_->device(), SumOfSquares<S>{.x = entry.grad, .sums = tile_sums(entry)});
    double total = 0;
    std::fill(clip_norms_.begin(), clip_norms_.end(), 0.0);
    for (const Entry& entry : entries_) {
      double sum = 0;
      const View<double, 1> sums = tile_sums(entry);
      for (Index i = 0; i < sums.size(); ++i) sum += sums(i);
      if (!std::isfinite(sum)) fail("the gradient of ", entry.name, " is not finite");
      total += sum;
      clip_norms_[entry.clip_group] += sum;
    }
    return std::sqrt(total);
  }

  /// One step with this rate, after `norm()`; `step` counts from 1.
  void update(double rate, Index step) {
    for (const Entry& entry : entries_)
      run(model_->device(), AdamwStep<S>{.value = entry.value,
                                         .grad = entry.grad,
                                         .exp_avg = entry.exp_avg,
                                         .exp_avg_sq = entry.exp_avg_sq,
                                         .rate = rate * entry.rate_scale,
                                         .beta1 = settings_.beta1,
                                         .beta2 = settings_.beta2,
                                         .epsilon = settings_.epsilon,
                                         .decay = entry.decay,
                                         .grad_scale = coefficient(entry.clip_group),
                                         .step = step});
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
  struct Entry {
    std::string name;
    View<S, 1> value, grad;
    View<S, 1> exp_avg{}, exp_avg_sq{};
    std::size_t group = 0, clip_group = 0;
    double rate_scale = 1, decay = 0;
    Index first_tile = 0;
  };

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
  std::vector<Entry> entries_;
  std::vector<double> clip_norms_;  // sums of squares by clip group, the common one last
  Buffer<D, S> exp_avg_, exp_avg_sq_;
  Buffer<D, double> sums_;
};

}  // namespace midus
