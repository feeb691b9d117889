// Reading the members of a JSON object with types, ranges and errors that name them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"

namespace midus {

/// What a message shows of a value that was found: one line, not too long.
inline std::string found_text(const Json& value) {
  std::string shown;
  bool line_start = false;
  for (const char c : dump_json(value)) {
    if (c == '\n' && !shown.empty() && shown.back() == ',') shown += ' ';
    line_start = c == '\n' || (line_start && c == ' ');
    if (!line_start) shown += c;
  }
  return shown.size() <= 80 ? shown : shown.substr(0, 77) + "...";
}

/// The value as an integer: `128256`, and also `128256.0` and `1e5`, which some writers make of integers, as
/// long as they are integral and exact in a double. Nothing is ever rounded or cut.
inline std::optional<Index> exact_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<Index>::max())) return std::nullopt;
    return static_cast<Index>(number);
  }
  if (value.is_number_integer()) return value.get<Index>();
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::abs(number) <= 0x1p53 && number == std::floor(number)) return static_cast<Index>(number);
  }
  return std::nullopt;
}

/// An object of a JSON file, read member by member. A member that is `null` counts as absent, since Python
/// writes None so. Every getter throws an `Error` that names the file, the member, what was expected and what
/// was found. It refers to the `Json`, which must outlive it.
class JsonObject {
 public:
  /// `name` is how errors call the object inside the file: "" for the whole, "midus", "rope_scaling", ...
  JsonObject(const Json& value, std::string file, std::string name = "")
      : value_(&value), file_(std::move(file)), name_(std::move(name)) {
    if (!value.is_object())
      fail(file_, ": ", name_.empty() ? "the file" : in_quotes(name_), " must be an object {...}, found ",
           found_text(value));
  }

  const std::string& file() const { return file_; }
  const Json& json() const { return *value_; }

  /// Null where the member is absent or `null`.
  const Json* find(std::string_view key) const {
    const auto found = value_->find(std::string(key));
    return found == value_->end() || found->is_null() ? nullptr : &*found;
  }
  bool has(std::string_view key) const { return find(key) != nullptr; }

  /// Throws: the member must be `expected`.
  [[noreturn]] void refuse(std::string_view key, std::string_view expected) const {
    const Json* const found = find(key);
    if (found == nullptr) fail(file_, ": ", where(key), " is missing; expected ", expected);
    fail(file_, ": ", where(key), " must be ", expected, ", found ", found_text(*found));
  }

  Index integer(std::string_view key, Index least, Index most) const {
    const Json* const found = find(key);
    if (found != nullptr) {
      const std::optional<Index> number = exact_integer(*found);
      if (number && *number >= least && *number <= most) return *number;
    }
    refuse(key, text("an integer from ", least, " to ", most));
  }
  Index integer(std::string_view key, Index least, Index most, Index if_absent) const {
    return has(key) ? integer(key, least, most) : if_absent;
  }

  std::vector<Index> integers(std::string_view key, Index least, Index most) const {
    const Json* const found = find(key);
    std::vector<Index> numbers;
    if (found != nullptr && found->is_array()) {
      for (const Json& item : *found) {
        const std::optional<Index> number = exact_integer(item);
        if (!number || *number < least || *number > most) break;
        numbers.push_back(*number);
      }
      if (numbers.size() == found->size()) return numbers;
    }
    refuse(key, text("a list of integers from ", least, " to ", most));
  }

  /// A finite number greater than `above` and at most `most`.
  double number(std::string_view key, double above, double most) const {
    const Json* const found = find(key);
    if (found != nullptr && found->is_number()) {
      const double value = found->get<double>();
      if (value > above && value <= most) return value;  // false for NaN
    }
    refuse(key, text("a number greater than ", above, " and at most ", most));
  }
  double number(std::string_view key, double above, double most, double if_absent) const {
    return has(key) ? number(key, above, most) : if_absent;
  }

  bool boolean(std::string_view key, bool if_absent) const {
    const Json* const found = find(key);
    if (found == nullptr) return if_absent;
    if (!found->is_boolean()) refuse(key, "true or false");
    return found->get<bool>();
  }

  std::string string(std::string_view key) const {
    const Json* const found = find(key);
    if (found == nullptr || !found->is_string()) refuse(key, "a text in quotes");
    return found->get<std::string>();
  }
  std::string string(std::string_view key, std::string_view if_absent) const {
    return has(key) ? string(key) : std::string(if_absent);
  }

  std::vector<std::string> strings(std::string_view key) const {
    const Json* const found = find(key);
    std::vector<std::string> texts;
    if (found != nullptr && found->is_array()) {
      for (const Json& item : *found)
        if (item.is_string()) texts.push_back(item.get<std::string>());
      if (texts.size() == found->size()) return texts;
    }
    refuse(key, "a list of texts");
  }

  JsonObject object(std::string_view key) const {
    const Json* const found = find(key);
    if (found == nullptr) refuse(key, "an object {...}");
    return {*found, file_, name_.empty() ? std::string(key) : name_ + "." + std::string(key)};
  }

  /// Throws where there is a member with another key than these: what is not known is not passed over.
  void allow_only(std::initializer_list<std::string_view> keys) const {
    for (auto item = value_->begin(); item != value_->end(); ++item)
      if (std::find(keys.begin(), keys.end(), item.key()) == keys.end()) {
        std::string known;
        for (const std::string_view key : keys) known += (known.empty() ? "" : ", ") + std::string(key);
        fail(file_, ": ", where(item.key()), " is not known; known are ", known);
      }
  }

  /// `"midus.top_k"`, as errors call a member.
  std::string where(std::string_view key) const {
    return in_quotes(name_.empty() ? std::string(key) : name_ + "." + std::string(key));
  }

 private:
  const Json* value_;
  std::string file_;
  std::string name_;
};

}  // namespace midus
