// What differs between two models on disk.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "midus/core/visit.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/json.hpp"
#include "midus/io/llama_config.hpp"
#include "midus/io/llama_config_writer.hpp"
#include "midus/io/model_tensors.hpp"
#include "midus/io/tensor_convert.hpp"

namespace midus {

/// A tensor that both models have, and that is not the same in both.
struct TensorDifference {
  std::string name;
  std::string left, right;  ///< type and shape, "F32 [4, 8]"
  Index elements = 0;
  /// Of values that are not equal as numbers (−0 = +0, NaN = NaN); none where the shapes differ.
  std::optional<Index> differing{};
  double largest = 0;  ///< |left − right|; NaN where one is NaN and the other is not
};

/// What differs between the tensors of two models.
struct FilesDifference {
  std::vector<std::string> only_left, only_right;
  std::vector<TensorDifference> different;
  Index equal = 0;  ///< tensors with the same type, shape and bytes

  bool none() const { return only_left.empty() && only_right.empty() && different.empty(); }
};

namespace detail {

/// Values piece by piece, so that tensors of any size need little memory.
inline void compare_values(const StoredTensor& left, const StoredTensor& right,
                           TensorDifference& difference) {
  const auto width = [](const StoredTensor& tensor) {
    return static_cast<std::size_t>(info(tensor.dtype).bits) / 8;
  };
  constexpr std::size_t piece = 1 << 16;
  const auto size = static_cast<std::size_t>(difference.elements);
  std::vector<double> a, b;
  Index differing = 0;
  for (std::size_t first = 0; first < size; first += piece) {
    const std::size_t count = std::min(piece, size - first);
    const auto read = [&](const StoredTensor& tensor, std::vector<double>& to) {
      to.resize(count);
      read_weights(tensor.dtype, tensor.bytes.subspan(first * width(tensor), count * width(tensor)),
                   std::span(to));
    };
    read(left, a);
    read(right, b);
    for (std::size_t i = 0; i < count; ++i) {
      if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
      ++differing;
      const double distance = std::fabs(a[i] - b[i]);
      if (!(distance <= difference.largest)) difference.largest = distance;
    }
  }
  difference.differing = differing;
}

}  // namespace detail

/// Compares two models tensor by tensor; only those whose names have one of the forms `patterns` (`matches`),
/// or all where there are none.
inline FilesDifference compare_files(const CheckpointFiles& left, const CheckpointFiles& right,
                                     const std::vector<std::string>& patterns = {}) {
  const auto wanted = [&](const std::string& name) {
    return patterns.empty() || std::any_of(patterns.begin(), patterns.end(),
                                           [&](const std::string& form) { return matches(form, name); });
  };
  const auto described = [](const StoredTensor& tensor) {
    return text(to_string(tensor.dtype), " ", to_string(tensor.shape));
  };
  FilesDifference all;
  for (const auto& [name, located] : right.tensors())
    if (wanted(name) && left.find(name) == nullptr) all.only_right.push_back(name);
  for (const auto& [name, located] : left.tensors()) {
    if (!wanted(name)) continue;
    const StoredTensor &a = *located.tensor, *const found = right.find(name);
    if (found == nullptr) {
      all.only_left.push_back(name);
      continue;
    }
    const StoredTensor& b = *found;
    if (a.dtype == b.dtype && a.shape == b.shape &&
        std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin())) {
      ++all.equal;
      continue;
    }
    TensorDifference difference{name, described(a), described(b)};
    difference.elements = element_count(a.shape);
    if (a.shape == b.shape && is_weight(a.dtype) && is_weight(b.dtype))
      detail::compare_values(a, b, difference);
    all.different.push_back(std::move(difference));
  }
  return all;
}

namespace detail {

/// What config.json says in one spelling: as midus would write it anew, with the keys that it does not know.
inline Json in_one_spelling(LlamaConfig config) {
  const Json written = std::exchange(config.original, Json::object());
  Json json = to_json(config);
  json.erase("auto_map");  // names Python code, whatever the rest says
  for (auto item = written.begin(); item != written.end(); ++item)
    if (item.key() != "rope_parameters" && item.key() != "dtype" && !json.contains(item.key()))
      json[item.key()] = *item;
  return json;
}

}  // namespace detail

/// The top-level keys of two configurations that say different things, or that only one has: those of `left`
/// first. The order of keys says nothing, nor does which of its spellings a setting has (`rope_parameters`
/// here, `rope_theta` and `rope_scaling` there), nor whether a default is written out.
inline std::vector<std::string> differing_keys(const LlamaConfig& left, const LlamaConfig& right) {
  const Json ours = detail::in_one_spelling(left), theirs = detail::in_one_spelling(right);
  std::vector<std::string> keys;
  for (auto item = ours.begin(); item != ours.end(); ++item)  // nlohmann::json knows no order of keys
    if (!theirs.contains(item.key()) || nlohmann::json(theirs[item.key()]) != nlohmann::json(*item))
      keys.push_back(item.key());
  for (auto item = theirs.begin(); item != theirs.end(); ++item)
    if (!ours.contains(item.key())) keys.push_back(item.key());
  return keys;
}

}  // namespace midus
