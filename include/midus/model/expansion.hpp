// What is new in an up-scaled model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace midus {

/// One expansion, as config.json records it under `depth_upscaling` (docs/checkpoint.md).
struct Expansion {
  std::string policy;                 ///< midus, pkm, llama_pro or solar
  std::vector<std::string> inserted;  ///< name prefixes in the model as it is now
  int parent_layers = 0;
  std::vector<int> parent_positions;
  std::uint64_t seed = 0;

  bool operator==(const Expansion&) const = default;
};

}  // namespace midus
