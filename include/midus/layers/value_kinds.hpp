// The value policies that a program has, by name: what readers of files know of them without a model's type.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/layers/dense_value.hpp"
#include "midus/layers/factorized_value.hpp"

namespace midus {

/// A value policy as data.
struct ValueKind {
  bool ranked;  ///< it has a number of its own, the template's argument: `value_rank` in config.json
  std::vector<TensorSpec> (*tensors)(const ValueSizes&);
  /// A class for `modeling_midus.py`, put behind what that has; empty: none, and for a policy that is not the
  /// library's transformers cannot open the model.
  std::string_view python;
  std::string type;  ///< its name in C++, for types that are made of a config.json; empty: not known
};

namespace detail {

template <class Value>
std::vector<TensorSpec> value_tensors(const ValueSizes& sizes) {
  const auto specs = Value::tensors(sizes);
  return {specs.begin(), specs.end()};
}

template <class Value>
ValueKind value_kind(std::string type) {
  ValueKind kind{Value::rank > 0, value_tensors<Value>, {}, std::move(type)};
  if constexpr (requires { Value::python; }) kind.python = Value::python;
  return kind;
}

struct ValueKinds {
  std::mutex mutex;
  std::map<std::string, ValueKind, std::less<>> by_name{
      {std::string(DenseValue::name), value_kind<DenseValue>("midus::DenseValue")},
      {std::string(FactorizedValue<1>::name), value_kind<FactorizedValue<1>>("midus::FactorizedValue")}};

  static ValueKinds& all() {
    static ValueKinds kinds;
    return kinds;
  }
};

constexpr bool is_value_name(std::string_view name) {
  for (const char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
  return !name.empty() && name.size() <= 40 && !(name[0] >= '0' && name[0] <= '9');
}

template <class Value>
inline constexpr bool is_library_value = std::is_same_v<Value, DenseValue>;
template <int Rank>
inline constexpr bool is_library_value<FactorizedValue<Rank>> = true;

}  // namespace detail

/// The policy of files that name none: there were two, and `value_rank` told them apart.
constexpr std::string_view unnamed_value_policy(Index rank) {
  return rank > 0 ? FactorizedValue<1>::name : DenseValue::name;
}

/// The policy of that name; null where this program has none.
inline const ValueKind* find_value_kind(std::string_view name) {
  detail::ValueKinds& kinds = detail::ValueKinds::all();
  const std::lock_guard lock(kinds.mutex);
  const auto found = kinds.by_name.find(name);
  return found == kinds.by_name.end() ? nullptr : &found->second;
}

/// "dense, factorized": the names of all that this program has.
inline std::string value_kind_names() {
  detail::ValueKinds& kinds = detail::ValueKinds::all();
  const std::lock_guard lock(kinds.mutex);
  std::string names;
  for (const auto& [name, kind] : kinds.by_name) names += (names.empty() ? "" : ", ") + name;
  return names;
}

/// Makes a policy known by its name, under which models with it are then read. A program that names a model's
/// type has its policy; one that knows no type (`upscale`, `inspect`) has what its headers say so at
/// namespace scope: `inline const bool gated_is_known =
/// midus::know_values<gated::GatedValue<1>>("gated::GatedValue");` `type` is the name that generated headers
/// write; where the policy has a rank they write `<RANK>` behind it. Throws `Error` where another policy has
/// that name: it would be another model without a word.
template <class Value>
bool know_values(const std::string& type = "") {
  static_assert(detail::is_value_name(Value::name),
                "know_values: a value policy's name has at most 40 letters a-z, digits and _, no digit "
                "first, as in \"gated\"");
  static_assert(detail::is_library_value<Value> ||
                    (Value::name != DenseValue::name && Value::name != FactorizedValue<1>::name &&
                     Value::name != "pkm" && Value::name != "hml"),
                "know_values: dense, factorized, pkm and hml are the library's names; give the policy one of "
                "its own");
  detail::ValueKinds& kinds = detail::ValueKinds::all();
  const std::lock_guard lock(kinds.mutex);
  const ValueKind mine = detail::value_kind<Value>(type);
  ValueKind& known = kinds.by_name.try_emplace(std::string(Value::name), mine).first->second;
  const ValueSizes sizes{.slots = 9, .heads = 2, .head_width = 4, .rank = mine.ranked ? 3 : 0};
  if (known.ranked != mine.ranked || known.tensors(sizes) != mine.tensors(sizes) ||
      known.python != mine.python || (!known.type.empty() && !type.empty() && known.type != type))
    fail("two value policies are called \"", Value::name,
         "\" (or the tensors of one depend on more than the sizes that it is given); give each its own name");
  if (known.type.empty()) known.type = type;
  return true;
}

}  // namespace midus
