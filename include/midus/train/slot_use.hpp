// How evenly the heads of Memory blocks use their slots, and how much they add to the residual stream: a
// memory whose slots are mostly unread, or whose reads are small beside what they are added to, is wasted.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "midus/train/batches.hpp"
#include "midus/train/trainer.hpp"

namespace midus {

/// What one head of one Memory block read, summed over tokens: how often each slot was among the k retrieved,
/// and with what weight.
class HeadSlotUse {
 public:
  explicit HeadSlotUse(Index slots)
      : reads_(static_cast<std::size_t>(slots)), weights_(static_cast<std::size_t>(slots)) {}

  void add(Index slot, double weight) {
    reads_[static_cast<std::size_t>(slot)] += 1;
    weights_[static_cast<std::size_t>(slot)] += weight;
  }

  /// How often a slot was retrieved, over all slots: k for every token.
  Index reads() const { return std::accumulate(reads_.begin(), reads_.end(), Index{0}); }

  /// The share of slots that were retrieved at least once.
  double used_share() const {
    const auto used = std::count_if(reads_.begin(), reads_.end(), [](Index reads) { return reads > 0; });
    return static_cast<double>(used) / static_cast<double>(reads_.size());
  }

  /// KL(p ‖ uniform) in nats, where p is the share of all weight that went to each slot: 0 where all slots
  /// are used alike, log(slots) where one has everything (arXiv 1907.05242, section 4.5).
  double kl_to_uniform() const {
    double total = 0, divergence = 0;
    for (const double weight : weights_) total += weight;
    if (total == 0) return 0;
    for (const double weight : weights_) {
      const double p = weight / total;
      if (p > 0) divergence += p * std::log(p * static_cast<double>(weights_.size()));
    }
    return divergence;
  }

 private:
  std::vector<Index> reads_;
  std::vector<double> weights_;
};

/// ‖read‖ / ‖x‖: the norm of what a memory adds, over the norm of the residual stream x to which it is added;
/// both are over all tokens.
class ReadRatio {
 public:
  void add(double read, double x) {
    read_ += read * read;
    x_ += x * x;
  }
  /// 0 where nothing was added to nothing.
  double value() const { return read_ == 0 ? 0 : std::sqrt(read_ / x_); }

 private:
  double read_ = 0, x_ = 0;
};

/// What is known of one Memory block.
struct BlockSlotUse {
  std::vector<HeadSlotUse> heads;
  ReadRatio read_ratio;
  /// Of every head, on the slice of the stream that it writes to. Empty where heads share the whole stream
  /// (PKM).
  std::vector<ReadRatio> read_ratio_of_heads;
};

/// Runs the model over a token file, all but its last token, and returns the use of slots by block and head.
/// A token of loss weight 0 counts: the memory is read for it too.
template <class Model>
requires(Model::Shape::Where::count > 0) std::vector<BlockSlotUse> slot_use(Model& model,
                                                                            const EvaluationBatches& batches,
                                                                            Index rows = 16) {
  using Memory = typename Model::Shape::Inserted::MemoryConfig;
  constexpr Index slots = slots_of<Memory::keys>();
  constexpr bool own_slices = requires { Memory::heads; };
  std::vector<BlockSlotUse> use(Model::Shape::Where::count);
  rows = batches.rows(rows);
  const Shape<2> shape{{rows, batches.length()}};
  std::vector<std::int32_t> ids(static_cast<std::size_t>(shape.size())), targets(ids.size());
  for (Index batch = 0; batch < batches.batches(rows); ++batch) {
    batches.fill(batch, {ids.data(), shape}, {targets.data(), shape});
    model.memory_reads({ids.data(), shape}, [&](std::size_t block, const auto& read, auto x, auto written) {
      const Index heads = read.slots.extent(1), top_k = read.slots.extent(2), width = x.extent(1);
      std::vector<HeadSlotUse>& of_heads = use[block].heads;
      of_heads.resize(static_cast<std::size_t>(heads), HeadSlotUse(slots));
      if (own_slices) use[block].read_ratio_of_heads.resize(of_heads.size());
      // Windows follow one another; behind the file's last input there is padding.
      const Index tokens = std::min(shape.size(), batches.file().size() - 1 - batch * shape.size());
      for (Index token = 0; token < tokens; ++token)
        for (Index head = 0; head < heads; ++head)
          for (Index i = 0; i < top_k; ++i)
            of_heads[static_cast<std::size_t>(head)].add(read.slots(token, head, i),
                                                         static_cast<double>(read.weights(token, head, i)));
      for (Index token = 0; token < tokens; ++token)
        for (Index i = 0; i < width; ++i) {
          const auto added = static_cast<double>(written(token, i)), to = static_cast<double>(x(token, i));
          use[block].read_ratio.add(added, to);
          if (own_slices)
            use[block].read_ratio_of_heads[static_cast<std::size_t>(i / (width / heads))].add(added, to);
        }
    });
  }
  return use;
}

}  // namespace midus
