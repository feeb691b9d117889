// One step's numbers as a line of JSON, and as a row of CSV.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/mapped_file.hpp"

namespace midus {

/// What is logged of a step. All but the last four are the same bits when a run is stopped and resumed.
struct StepRecord {
  static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

  Index step = 0;         ///< updates done, this one included: the first has 1
  double loss = unknown;  ///< nats per counted target of the batch, before the update
  double learning_rate = unknown;
  double grad_norm = unknown;  ///< before clipping
  Index tokens = 0;            ///< counted targets of all steps up to this one
  double tokens_per_s = unknown;
  double peak_share = unknown;  ///< of the processor's measured peak, 0 to 1
  Index peak_bytes = 0;         ///< the process' most memory so far
  double time = unknown;        ///< end of the step, seconds since 1970 (UTC)

  /// Calls `f(key, member)` for every member, in the order of the file.
  static void visit(auto& self, auto&& f) {
    f("step", self.step);
    f("loss", self.loss);
    f("learning_rate", self.learning_rate);
    f("grad_norm", self.grad_norm);
    f("tokens", self.tokens);
    f("tokens_per_s", self.tokens_per_s);
    f("peak_share", self.peak_share);
    f("peak_bytes", self.peak_bytes);
    f("time", self.time);
  }
};

/// Writes records into memory of its own, without allocating. Numbers with a fraction are printed with as few
/// digits as give the same bits back, integers as integers. JSON knows no NaN and no infinity: both become
/// `null` (an empty field in CSV).
class StepLine {
 public:
  /// `{"step":1,"loss":5.5, ... ,"time":0.25}` and a line feed.
  std::string_view format(const StepRecord& record) {
    used_ = 0;
    StepRecord::visit(record, [&](std::string_view key, auto value) {
      put(used_ == 0 ? "{\"" : ",\"");
      put(key);
      put("\":");
      number(value, "null");
    });
    put("}\n");
    return {buffer_.data(), used_};
  }

  /// `1,5.5, ... ,0.25` and a line feed.
  std::string_view format_csv(const StepRecord& record) {
    used_ = 0;
    bool first = true;
    StepRecord::visit(record, [&](std::string_view, auto value) {
      if (!std::exchange(first, false)) put(",");
      number(value, "");
    });
    put("\n");
    return {buffer_.data(), used_};
  }

 private:
  void put(std::string_view characters) {
    for (const char c : characters) buffer_[used_++] = c;
  }
  template <class Number>
  void number(Number value, std::string_view missing) {
    if constexpr (std::is_floating_point_v<Number>)
      if (!std::isfinite(value)) return put(missing);
    char* const end = buffer_.data() + buffer_.size();
    used_ = static_cast<std::size_t>(std::to_chars(buffer_.data() + used_, end, value).ptr - buffer_.data());
  }

  std::array<char, 512> buffer_;  // nine keys of at most 13 characters, nine numbers of at most 24
  std::size_t used_ = 0;
};

namespace detail {

/// Reads the whole of `text` as a number, without the program's locale.
template <class Number>
bool read_number(std::string_view text, Number& value) {
#if defined(__cpp_lib_to_chars)
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
#else  // a library that prints such numbers and cannot read them (libc++)
  std::istringstream in{std::string(text)};
  in.imbue(std::locale::classic());
  return (in >> value) && in.peek() == std::istringstream::traits_type::eof();
#endif
}

}  // namespace detail

/// Reads a line that `StepLine` wrote, without its line feed. `where` begins the message of an error.
inline StepRecord parse_step(std::string_view line, std::string_view where) {
  StepRecord record;
  std::string_view rest = line;
  const auto expect = [&](std::string_view characters) {
    if (rest.substr(0, characters.size()) != characters)
      fail(where, ": expected '", characters, "' at column ", line.size() - rest.size() + 1,
           "; it is not a line of a log of steps");
    rest.remove_prefix(characters.size());
  };
  bool first = true;
  StepRecord::visit(record, [&](std::string_view key, auto& value) {
    expect(std::exchange(first, false) ? "{\"" : ",\"");
    expect(key);
    expect("\":");
    const std::string_view number = rest.substr(0, rest.find_first_of(",}"));
    if constexpr (std::is_floating_point_v<std::remove_reference_t<decltype(value)>>)
      if (number == "null") {
        value = StepRecord::unknown;
        rest.remove_prefix(number.size());
        return;
      }
    if (!detail::read_number(number, value))
      fail(where, ": expected a number for \"", key, "\" at column ", line.size() - rest.size() + 1);
    rest.remove_prefix(number.size());
  });
  expect("}");
  if (!rest.empty()) fail(where, ": text behind the closing brace");
  return record;
}

/// Calls `f(record)` for every line of a log of steps. A last line without its line feed (the machine went
/// down while it was written) is left out.
template <class F>
void read_step_log(const std::filesystem::path& path, F&& f) {
  const MappedFile file(path);
  std::string_view rest = file.text();
  Index number = 1;
  for (std::size_t end; (end = rest.find('\n')) != rest.npos; ++number) {
    f(parse_step(rest.substr(0, end), text(path.string(), ":", number)));
    rest.remove_prefix(end + 1);
  }
}

/// All records of a log of steps.
inline std::vector<StepRecord> read_step_log(const std::filesystem::path& path) {
  std::vector<StepRecord> records;
  read_step_log(path, [&](const StepRecord& record) { records.push_back(record); });
  return records;
}

/// Writes a log of steps as CSV: a line of names, a line per step, the same digits.
inline void export_csv(const std::filesystem::path& log, const std::filesystem::path& target) {
  AtomicFile out(target);
  std::string lines;
  const StepRecord names;
  StepRecord::visit(names,
                    [&](std::string_view key, auto) { lines.append(lines.empty() ? "" : ",").append(key); });
  lines += '\n';
  StepLine line;
  read_step_log(log, [&](const StepRecord& record) {
    lines += line.format_csv(record);
    if (lines.size() < (std::size_t{1} << 16)) return;
    out.write(lines);
    lines.clear();
  });
  out.write(lines);
  out.commit();
}

}  // namespace midus
