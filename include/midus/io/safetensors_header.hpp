// The header of a safetensors file, from the text to checked entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"
#include "midus/io/safetensors_format.hpp"

namespace midus {

/// One tensor of a header: bytes begin ... end - 1 of the data.
struct SafetensorsEntry {
  TensorInfo info;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Takes the header's tokens straight into entries. There is no tree of JSON values in between, so a hostile
/// header costs memory in proportion to its length, and nesting costs none.
class SafetensorsHeaderHandler {
 public:
  explicit SafetensorsHeaderHandler(const JsonSource& source) : source_(source) {}

  std::vector<SafetensorsEntry> entries;
  SafetensorsMetadata metadata;

  bool start_object(std::size_t) {
    switch (place_) {
      case Place::start:
        return go(Place::top);
      case Place::tensor:
        return go(Place::tensor_member);
      case Place::metadata:
        return go(Place::metadata_member);
      default:
        return ignore_or_refuse("an object");
    }
  }
  bool end_object() {
    if (place_ == Place::ignored) return leave_ignored();
    if (place_ == Place::tensor_member) finish_tensor();
    return go(Place::top);
  }
  bool start_array(std::size_t) {
    switch (place_) {
      case Place::shape:
        return go(Place::extents);
      case Place::offsets:
        return go(Place::two_offsets);
      default:
        return ignore_or_refuse("a list");
    }
  }
  bool end_array() { return place_ == Place::ignored ? leave_ignored() : go(Place::tensor_member); }

  bool key(std::string& name) {
    switch (place_) {
      case Place::top:
        if (!names_.insert(name).second) source_fail(in_quotes(name), " occurs twice");
        entry_ = {};
        has_dtype_ = has_shape_ = has_offsets_ = false;
        offsets_ = 0;
        place_ = name == safetensors_metadata_key ? Place::metadata : Place::tensor;
        entry_.info.name = std::move(name);
        break;
      case Place::metadata_member:
        if (metadata.contains(name)) source_fail("__metadata__: the key ", in_quotes(name), " occurs twice");
        metadata_key_ = std::move(name);
        place_ = Place::metadata_text;
        break;
      case Place::tensor_member:
        if (name == "dtype") return enter(Place::dtype, has_dtype_, name);
        if (name == "shape") return enter(Place::shape, has_shape_, name);
        if (name == "data_offsets") return enter(Place::offsets, has_offsets_, name);
        place_ = Place::other;  // the reference passes over members that it does not know, and so do we
        break;
      default:
        break;  // inside something ignored
    }
    return true;
  }

  bool string(std::string& value) {
    if (place_ == Place::metadata_text) {
      metadata.emplace(std::move(metadata_key_), std::move(value));
      return go(Place::metadata_member);
    }
    if (place_ != Place::dtype) return scalar(in_quotes(value));
    const std::optional<Dtype> dtype = dtype_from(value);
    if (!dtype) refuse(in_quotes(value));
    entry_.info.dtype = *dtype;
    return go(Place::tensor_member);
  }
  bool number_unsigned(std::uint64_t value) {
    if (place_ == Place::extents) {
      if (entry_.info.shape.size() == safetensors_max_rank)
        source_fail("tensor ", in_quotes(entry_.info.name), ": more than ", safetensors_max_rank, " extents");
      if (value > static_cast<std::uint64_t>(std::numeric_limits<Index>::max()))
        refuse(std::to_string(value));
      entry_.info.shape.push_back(static_cast<Index>(value));
      return true;
    }
    if (place_ == Place::two_offsets) {
      if (offsets_ == 2)
        source_fail("tensor ", in_quotes(entry_.info.name), ": data_offsets must be two numbers, found more");
      (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
      return true;
    }
    return scalar(std::to_string(value));
  }
  bool number_integer(std::int64_t value) { return scalar(std::to_string(value)); }  // negative ones only
  bool number_float(double, const std::string& value) { return scalar(value.substr(0, 40)); }
  bool boolean(bool value) { return scalar(value ? "true" : "false"); }
  /// `"__metadata__": null` is none: mlx writes it so.
  bool null() { return place_ == Place::metadata ? go(Place::top) : scalar("null"); }
  bool binary(Json::binary_t&) { return false; }  // never in text

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
    fail_json_syntax(source_, position, error);
  }

 private:
  /// Where in the header the next token stands.
  enum class Place {
    start,
    top,            // between the tensors
    tensor,         // a tensor's {
    tensor_member,  // between its members
    dtype,
    shape,
    extents,
    offsets,
    two_offsets,
    other,     // a member that nobody knows
    ignored,   // inside that one
    metadata,  // the metadata's {
    metadata_member,
    metadata_text
  };

  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool enter(Place place, bool& seen, std::string_view member) {
    if (seen) source_fail("tensor ", in_quotes(entry_.info.name), ": ", member, " occurs twice");
    seen = true;
    return go(place);
  }
  bool ignore_or_refuse(const std::string& found) {
    if (place_ != Place::other && place_ != Place::ignored) return refuse(found);
    ++ignored_depth_;
    return go(Place::ignored);
  }
  bool leave_ignored() {
    if (--ignored_depth_ == 0) place_ = Place::tensor_member;
    return true;
  }
  bool scalar(const std::string& found) {
    if (place_ == Place::ignored) return true;
    if (place_ == Place::other) return go(Place::tensor_member);
    return refuse(found);
  }
  void finish_tensor() {
    const std::string_view missing = !has_dtype_     ? "dtype"
                                     : !has_shape_   ? "shape"
                                     : !has_offsets_ ? "data_offsets"
                                                     : "";
    if (!missing.empty()) source_fail("tensor ", in_quotes(entry_.info.name), ": ", missing, " is missing");
    if (offsets_ != 2)
      source_fail("tensor ", in_quotes(entry_.info.name), ": data_offsets must be two numbers, found ",
                  offsets_);
    entries.push_back(std::move(entry_));
  }

  /// Throws: something else was expected here. (bool, to end a handler with it.)
  bool refuse(const std::string& found) const {
    const std::string tensor = "tensor " + in_quotes(entry_.info.name) + ": ";
    switch (place_) {
      case Place::start:
        source_fail("the header must be an object {...}, found ", found);
      case Place::dtype:
        source_fail(tensor, "dtype must be one of safetensors' types, found ", found);
      case Place::shape:
      case Place::extents:
        source_fail(tensor, "shape must be a list of integers from 0 to 2^63 - 1, found ", found);
      case Place::offsets:
      case Place::two_offsets:
        source_fail(tensor, "data_offsets must be two integers from 0 to 2^64 - 1, found ", found);
      case Place::metadata:
        source_fail("__metadata__ must map texts to texts, found ", found);
      case Place::metadata_text:
        source_fail("__metadata__: ", in_quotes(metadata_key_), " must be a text, found ", found);
      default:
        source_fail(tensor, "must be an object with dtype, shape and data_offsets, found ", found);
    }
  }
  template <class... Parts>
  [[noreturn]] void source_fail(const Parts&... parts) const {
    fail(source_.file, ": ", parts...);
  }

  const JsonSource& source_;
  Place place_ = Place::start;
  std::set<std::string> names_;
  SafetensorsEntry entry_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  int offsets_ = 0;
  std::size_t ignored_depth_ = 0;
  std::string metadata_key_;
};

}  // namespace midus
