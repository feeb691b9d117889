// What is new in an up-scaled model, and what trains.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "midus/core/error.hpp"

namespace midus {

/// How a model is made deeper.
enum class Policy { midus, pkm, llama_pro, solar };

/// What is said of a policy in more than one place.
struct PolicyNames {
  std::string_view name;   ///< in config.json and on the command line
  std::string_view title;  ///< as papers write it
  bool inserts_memory;     ///< it inserts Memory blocks, which can be detached again
  bool keeps_logits;       ///< the deeper model computes what its base does, until it is trained
};
/// By `Policy`.
inline constexpr std::array<PolicyNames, 4> policies{{{"midus", "MIDUS", true, true},
                                                      {"pkm", "PKM", true, true},
                                                      {"llama_pro", "LLaMA-Pro", false, true},
                                                      {"solar", "SOLAR", false, false}}};

constexpr const PolicyNames& names_of(Policy policy) { return policies[static_cast<std::size_t>(policy)]; }
inline std::ostream& operator<<(std::ostream& out, Policy policy) { return out << names_of(policy).name; }

constexpr std::optional<Policy> policy_from(std::string_view name) {
  for (std::size_t i = 0; i < policies.size(); ++i)
    if (policies[i].name == name) return static_cast<Policy>(i);
  return std::nullopt;
}

/// One expansion, as config.json records it under `depth_upscaling` (docs/checkpoint.md).
struct Expansion {
  Policy policy = Policy::midus;
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
