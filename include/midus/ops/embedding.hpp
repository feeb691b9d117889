// Look-up of rows of a table, and its backward.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/weight_view.hpp"

namespace midus {

/// y_r = table[ids_r]. The ids are in range: the model checks them where they come in.
template <class S>
struct Embedding {
  View<const std::int32_t, 1> ids;  // [R]
  WeightView<S, 2> table;           // [V,d]
  View<S, 2> y;                     // [R,d] overwritten
};

/// dtable[ids_r] += dy_r, each row's sum in the order of r.
template <class S>
struct EmbeddingBackward {
  View<const std::int32_t, 1> ids;  // [R]
  View<const S, 2> dy;              // [R,d]
  View<S, 2> dtable;                // [V,d] added to
};

}  // namespace midus
