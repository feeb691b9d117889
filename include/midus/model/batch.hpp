// What goes into a language model and what comes out: token ids, targets, losses.
#pragma once

#include <algorithm>
#include <cstdint>

#include "midus/core/error.hpp"
#include "midus/core/view.hpp"
#include "midus/ops/cross_entropy.hpp"

namespace midus {

/// Token ids and what should follow each, in host memory; a target may be `ignored_target`.
struct Batch {
  View<const std::int32_t, 2> ids;      // [B,T]
  View<const std::int32_t, 2> targets;  // [B,T]
};

/// Σ of the counted targets' losses (nats), and how many were counted.
struct LossSum {
  double sum = 0;
  Index count = 0;
  double mean() const { return sum / static_cast<double>(count); }
};

/// How many targets of a batch count.
inline Index counted_targets(const View<const std::int32_t, 2>& targets) {
  return std::count_if(targets.data(), targets.data() + targets.size(),
                       [](std::int32_t target) { return target != ignored_target; });
}

/// Throws where ids [B,T] are empty, or one is not of the vocabulary; says which.
inline void check_ids(const View<const std::int32_t, 2>& ids, Index vocab_size) {
  if (ids.empty() || ids.extent(0) < 1 || ids.extent(1) < 1)
    fail("a batch needs at least one sequence of one token, but is ", to_string(ids.shape()));
  checked_size(ids.shape());
  for (Index i = 0; i < ids.size(); ++i)
    if (const std::int32_t id = ids.data()[i]; id < 0 || id >= vocab_size)
      fail("token id ", id, " at sequence ", i / ids.extent(1), ", position ", i % ids.extent(1),
           ": the vocabulary has ", vocab_size, " tokens");
}

/// The same for a batch: its targets must have the shape of its ids, and be of the vocabulary or ignored.
inline void check_batch(const Batch& batch, Index vocab_size) {
  check_ids(batch.ids, vocab_size);
  if (batch.targets.empty() || !(batch.targets.shape() == batch.ids.shape()))
    fail("targets ", to_string(batch.targets.shape()), " do not fit ids ", to_string(batch.ids.shape()));
  for (Index i = 0; i < batch.targets.size(); ++i)
    if (const std::int32_t id = batch.targets.data()[i]; id != ignored_target && (id < 0 || id >= vocab_size))
      fail("target ", id, " at sequence ", i / batch.ids.extent(1), ", position ", i % batch.ids.extent(1),
           ": the vocabulary has ", vocab_size, " tokens, and ", ignored_target, " means ignored");
}

}  // namespace midus
