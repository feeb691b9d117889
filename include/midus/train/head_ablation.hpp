// What each head's memory is worth: the loss without it.
#pragma once

#include <algorithm>
#include <string>
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

 public:
  WithoutHead(Model& model, std::size_t block, std::size_t head) {
    if (head >= std::size_t{Memory::heads})
      fail("head ablation: there is no head ", head, "; a memory has ", Memory::heads);
    // All that head h reads goes through its part of a projection, or comes from a table of its own.
    const std::string of_block = "model.memory_blocks." + std::to_string(block) + ".";
    std::string name;
    for (const Role role : {Role::head_output, Role::table}) {
      const bool found_output = !name.empty();
      model.visit([&](const Path& path, auto& parameter) {
        if (parameter.role != role || parameter.rank < 3 || parameter.shape[0] != Memory::heads ||
            !path.str().starts_with(of_block) || found_output)
          return;
        if (!name.empty() && role == Role::table)
          fail("head ablation: a head reads from several tensors, ", name, " and ", path.str(),
               "; there is no one part that is all of it");
        if (!name.empty()) return;
        name = path.str();
        const Index size = parameter.shape.size() / Memory::heads;
        if (!parameter.master.empty())
          part_ = parameter.master.flat().slice(static_cast<Index>(head) * size, size);
      });
    }
    if (part_.empty())
      fail("head ablation: there is no writable parameter ",
           name.empty() ? of_block + "* that all reads of a head pass" : name);
    kept_.assign(part_.data(), part_.data() + part_.size());
    std::fill(part_.data(), part_.data() + part_.size(), Scalar(0));
  }
  ~WithoutHead() { std::copy(kept_.begin(), kept_.end(), part_.data()); }
  WithoutHead(const WithoutHead&) = delete;
  WithoutHead& operator=(const WithoutHead&) = delete;

 private:
  using Scalar = typename Model::Scalar;
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
