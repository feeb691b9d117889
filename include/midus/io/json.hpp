// The one way in which midus parses JSON from outside, and writes it.
//
// Accepted besides strict JSON: a UTF-8 byte-order mark, and the literals NaN, Infinity and -Infinity that
// Python's json module writes. Refused besides its syntax errors: a key that occurs twice in an object,
// nesting and size beyond a limit, numbers beyond double. Every error names the file, the line and the column
// (in bytes).
#pragma once

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/mapped_file.hpp"

namespace midus {

/// A JSON value whose objects keep their keys in the order of the file.
using Json = nlohmann::ordered_json;

/// How much a file may hold: bounds on memory and time before anything is believed.
struct JsonLimits {
  std::size_t bytes = std::size_t{16} << 20;
  std::size_t depth = 64;  ///< objects and arrays inside one another
};

/// The text that a parser reads, and how far it has come: what line and column in errors are made of.
struct JsonSource {
  std::string_view text;
  std::string file;  ///< named in errors
  std::size_t at = 0;
  std::size_t first_line = 1;  ///< the number of the text's first line in the file

  /// Throws: "FILE, line 3, column 7: ..." for the byte before `position`.
  template <class... Parts>
  [[noreturn]] void fail_at(std::size_t position, const Parts&... parts) const {
    std::size_t line = first_line, column = 0;
    for (const char c : text.substr(0, position)) {
      ++column;
      if (c == '\n') ++line, column = 0;
    }
    fail(file, ", line ", line, ", column ", column, ": ", parts...);
  }
};

/// Lets nlohmann's parser read a `JsonSource` and advances its `at`.
class JsonIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  JsonIterator() = default;  ///< the end
  explicit JsonIterator(JsonSource& source) : source_(&source) {}

  reference operator*() const { return source_->text[source_->at]; }
  JsonIterator& operator++() {
    ++source_->at;
    return *this;
  }
  JsonIterator operator++(int) {
    const JsonIterator before = *this;
    ++source_->at;
    return before;
  }
  bool operator==(const JsonIterator& other) const { return at_end() == other.at_end(); }
  bool operator!=(const JsonIterator& other) const { return at_end() != other.at_end(); }

 private:
  bool at_end() const { return source_ == nullptr || source_->at == source_->text.size(); }

  JsonSource* source_ = nullptr;
};

/// Feeds the text to `handler`, one call per token (nlohmann's SAX interface; a handler throws what it does
/// not like). No recursion: nested input costs one bit per level. A syntax error is an `Error`.
template <class Handler>
void scan_json(JsonSource& source, Handler& handler) {
  // nlohmann takes a zero byte for the end of the text, and would not look at what follows.
  if (const auto zero = source.text.find('\0'); zero != source.text.npos)
    source.fail_at(zero + 1, "not JSON: a zero byte");
  Json::sax_parse(JsonIterator(source), JsonIterator(), &handler);
}

/// What every SAX handler does with a syntax error.
[[noreturn]] inline void fail_json_syntax(const JsonSource& source, std::size_t position,
                                          const std::exception& error) {
  std::string_view what =
      error.what();  // "[json.exception.parse_error.101] parse error at line 1, ...: syntax ..."
  for (const std::string_view start : {"syntax error", "number overflow"})
    if (const auto found = what.find(start); found != what.npos) what = what.substr(found);
  source.fail_at(position, "not JSON: ", what.substr(0, 300));
}

/// Builds a `Json` from the parser's calls.
class JsonBuilder {
 public:
  /// `non_finite`: where in the text an empty string stands for which number (see `parse_json`).
  JsonBuilder(const JsonSource& source, const JsonLimits& limits, std::map<std::size_t, double> non_finite)
      : source_(source), limits_(limits), non_finite_(std::move(non_finite)) {}

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(Json::number_integer_t value) { return add(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return add(value); }
  bool string(std::string& value) {
    if (const double* number = non_finite_number()) return add(*number);
    return add(std::move(value));
  }
  bool binary(Json::binary_t&) { return false; }  // never in text

  bool start_object(std::size_t) { return open(Json::object()); }
  bool key(std::string& name) {
    if (non_finite_number()) source_.fail_at(source_.at, "not JSON: expected a key in quotes");
    if (!open_.back().keys.insert(name).second)
      source_.fail_at(source_.at, "the key ", in_quotes(name), " occurs twice in one object");
    key_ = std::move(name);
    return true;
  }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_array() { return close(); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
    fail_json_syntax(source_, position, error);
  }

  Json take() { return std::move(root_); }

 private:
  struct Open {
    Json* value;  ///< stays where it is: only the innermost container grows
    std::set<std::string> keys;
  };

  Json* place(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    Json& parent = *open_.back().value;
    // Straight into the vector below: a look-up per key would make a long object quadratic.
    if (parent.is_object())
      return &parent.get_ref<Json::object_t&>().emplace_back(std::move(key_), std::move(value)).second;
    return &parent.get_ref<Json::array_t&>().emplace_back(std::move(value));
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json container) {
    if (open_.size() == limits_.depth)
      source_.fail_at(source_.at, "nested more than ", limits_.depth, " deep");
    open_.push_back({place(std::move(container)), {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  /// The number that the string read just now stands for; null for a real string.
  const double* non_finite_number() const {
    if (source_.at < 2) return nullptr;
    const auto found = non_finite_.find(source_.at - 2);
    return found == non_finite_.end() ? nullptr : &found->second;
  }

  const JsonSource& source_;
  JsonLimits limits_;
  std::map<std::size_t, double> non_finite_;
  Json root_;
  std::vector<Open> open_;
  std::string key_;
};

/// Parses `text`; `file` is what errors call it, and `first_line` the number of its first line there.
inline Json parse_json(std::string_view text, const std::string& file, const JsonLimits& limits = {},
                       std::size_t first_line = 1) {
  if (text.size() > limits.bytes)
    fail(file, ": expected at most ", limits.bytes, " bytes of JSON, found ", text.size());
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);

  // The parser knows no NaN: it reads `""` and blanks of the same length in its place, so that columns stay,
  // and the builder turns them back into numbers.
  constexpr double infinity = std::numeric_limits<double>::infinity();
  static constexpr std::pair<std::string_view, double> literals[] = {
      {"NaN", std::numeric_limits<double>::quiet_NaN()}, {"Infinity", infinity}, {"-Infinity", -infinity}};
  std::string readable(text);
  std::map<std::size_t, double> non_finite;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\';
      continue;
    }
    for (const auto& [literal, number] : literals) {
      if (text.compare(i, literal.size(), literal) != 0) continue;
      readable.replace(i, literal.size(), "\"\"" + std::string(literal.size() - 2, ' '));
      non_finite.emplace(i, number);
      i += literal.size() - 1;
      break;
    }
  }
  JsonSource source{.text = readable, .file = file, .first_line = first_line};
  JsonBuilder builder(source, limits, std::move(non_finite));
  scan_json(source, builder);
  return builder.take();
}

/// Reads a file of JSON.
inline Json read_json_file(const std::filesystem::path& path, const JsonLimits& limits = {}) {
  const MappedFile file(path);
  if (file.size() > limits.bytes)
    fail(path.string(), ": expected at most ", limits.bytes, " bytes of JSON, found ", file.size());
  return parse_json(file.text(), path.string(), limits);
}

/// The text of a value in one line. Bytes that are no UTF-8 (a file's name may hold any) become U+FFFD.
inline std::string dump_json_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The text of a value, indented by two as Python's `json.dumps(value, indent=2)`; numbers that are not
/// finite are written as Python writes them, so that a file with them comes out as it went in. Bytes that are
/// no UTF-8 become U+FFFD.
inline std::string dump_json(const Json& value, std::size_t indent = 0) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const double number = value.get<double>();
    return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
  }
  if (!value.is_structured() || value.empty()) return dump_json_line(value);
  const std::string inner(indent + 2, ' ');
  std::string out(1, value.is_object() ? '{' : '[');
  const char* separator = "\n";
  for (auto item = value.begin(); item != value.end(); ++item) {
    out += separator + inner;
    if (value.is_object()) out += dump_json_line(item.key()) + ": ";
    out += dump_json(*item, indent + 2);
    separator = ",\n";
  }
  return out + "\n" + std::string(indent, ' ') + (value.is_object() ? '}' : ']');
}

}  // namespace midus
