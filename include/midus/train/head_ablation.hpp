// What each head's memory is worth: the loss without it.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "midus/train/batches.hpp"
#include "midus/train/trainer.hpp"

namespace midus {

/// Whether a model's Memory blocks have heads whose memories can be taken away one by one. The heads of a
/// product-key memory cannot: they read one bank, and their reads are summed.
template <class Config>
concept HasHeadwiseMemory = (Config::Where::count > 0) && requires {
  typename Config::Inserted::MemoryConfig::ValuePolicy;
};

/// Takes one head's memory away from a model while it lives: what the head reads is exactly 0. The model's
/// weights must be writable, that is, not stored as bfloat16.
template <class Model>
requires HasHeadwiseMemory<typename Model::Shape>
class WithoutHead {
  using Memory = typename Model::Shape::Inserted::MemoryConfig;
  using Scalar = typename Model::Scalar;

 public:
  WithoutHead(Model& model, std::size_t block, std::size_t head) {
    if (head >= std::size_t{Memory::heads})
      fail("head ablation: there is no head ", head, "; a memory has ", Memory::heads);
    // All that head h reads goes through its part of a projection, or comes from a table of its own.
    struct Found {
      std::string name;
      View<Scalar, 1> part;  // empty: not writable
    };
    std::vector<Found> outputs, tables;
    const std::string of_block = "model.memory_blocks." + std::to_string(block) + ".";
    model.visit([&](const Path& path, auto& parameter) {
      if (parameter.rank < 3 || parameter.shape[0] != Memory::heads || !path.str().starts_with(of_block))
        return;
      const Index size = parameter.shape.size() / Memory::heads;
      Found found{path.str(), {}};
      if (!parameter.master.empty())
        found.part = parameter.master.flat().slice(static_cast<Index>(head) * size, size);
      if (parameter.role == Role::head_output) outputs.push_back(std::move(found));
      if (parameter.role == Role::table) tables.push_back(std::move(found));
    });
    if (outputs.empty() && tables.size() > 1)
      fail("head ablation: a head reads from several tensors, ", tables[0].name, " and ", tables[1].name,
           "; there is no one part that is all of it");
    const std::vector<Found>& all = outputs.empty() ? tables : outputs;  // any one of the outputs is enough
    if (all.empty() || all[0].part.empty())
      fail("head ablation: there is no writable parameter ",
           all.empty() ? of_block + "* that all reads of a head pass" : all[0].name);
    part_ = all[0].part;
    kept_.assign(part_.data(), part_.data() + part_.size());
    std::fill(part_.data(), part_.data() + part_.size(), Scalar(0));
  }
  ~WithoutHead() { std::copy(kept_.begin(), kept_.end(), part_.data()); }
  WithoutHead(const WithoutHead&) = delete;
  WithoutHead& operator=(const WithoutHead&) = delete;

 private:
  View<Scalar, 1> part_;
  std::vector<Scalar> kept_;
};

/// The loss on a token file with every head's memory, and without one of them at a time.
struct HeadAblation {
  LossSum all;
  std::vector<std::vector<LossSum>> without;  ///< by block and head

  /// What the mean loss grows by when this head's memory is taken away.
  double increase(std::size_t block, std::size_t head) const {
    return without[block][head].mean() - all.mean();
  }
};

/// Evaluates the model once, and once more without the memory of each head of each Memory block; calls
/// each(done, of) after each evaluation. The model is afterwards what it was.
template <class Model, class Each>
requires HasHeadwiseMemory<typename Model::Shape> HeadAblation head_ablation(Model& model,
                                                                             const EvaluationBatches& batches,
                                                                             Index rows, Each&& each) {
  constexpr std::size_t blocks = Model::Shape::Where::count,
                        heads = Model::Shape::Inserted::MemoryConfig::heads;
  HeadAblation result{.all = evaluate(model, batches, rows), .without = {}};
  std::size_t done = 1;
  each(done, 1 + blocks * heads);
  for (std::size_t block = 0; block < blocks; ++block) {
    result.without.emplace_back();
    for (std::size_t head = 0; head < heads; ++head) {
      const WithoutHead ablated(model, block, head);
      result.without[block].push_back(evaluate(model, batches, rows));
      each(++done, 1 + blocks * heads);
    }
  }
  return result;
}

}  // namespace midus
