// What is new in an up-scaled model, and what trains.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "midus/core/error.hpp"

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

/// `model.train(inserted)`: the blocks of the last expansion.
inline const std::string inserted = "inserted";
/// The blocks of every expansion.
inline const std::string inserted_all = "inserted:all";
/// Every parameter.
inline const std::string everything = "everything";

/// The name patterns behind what `train` was asked for: `inserted`, `inserted:all`, `everything` and patterns
/// stand for themselves, in any mix. Throws `Error` where the model was not expanded, or by SOLAR, which
/// inserts nothing that could be told from the base.
inline std::vector<std::string> train_patterns(const std::vector<Expansion>& history,
                                               const std::vector<std::string>& wanted) {
  std::vector<std::string> patterns;
  for (const std::string& what : wanted) {
    if (what == everything) {
      patterns.emplace_back("*");
    } else if (what == inserted || what == inserted_all) {
      if (history.empty())
        fail("train ", what,
             ": this model has not been expanded; name what trains: everything, or patterns of names");
      const std::size_t first = what == inserted ? history.size() - 1 : 0;
      for (std::size_t i = first; i < history.size(); ++i) {
        if (history[i].inserted.empty())
          fail("train ", what, ": ", history[i].policy,
               " inserts no block that could be told from the base's; name "
               "what trains: everything, or patterns of names");
        for (const std::string& prefix : history[i].inserted) patterns.push_back(prefix + "*");
      }
    } else {
      patterns.push_back(what);
    }
  }
  return patterns;
}

}  // namespace midus
