// The numbers of a model that are not its shape.
#pragma once

#include "midus/core/shape.hpp"
#include "midus/layers/rotary_table.hpp"

namespace midus {

/// Run-time numbers of a model, as config.json says them.
struct ModelSettings {
  double rms_norm_eps = 1e-5;
  RopeSettings rope{};
  Index max_position_embeddings = 2048;
};

}  // namespace midus
