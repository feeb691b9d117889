// Training, validation and test parts of one text or token sequence.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"

namespace midus {

/// Positions begin, ..., end − 1.
struct Range {
  Index begin = 0, end = 0;
  Index size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

/// The names of the parts, in order.
inline constexpr std::string_view split_names[] = {"train", "validation", "test"};

/// Throws `Error` unless there are two or three percentages, all above 0, that add up to 100.
inline void check_percentages(std::span<const double> percentages) {
  if (percentages.size() < 2 || percentages.size() > 3)
    fail("split: expected 2 or 3 percentages (train, validation, test), found ", percentages.size());
  double sum = 0;
  for (const double percentage : percentages) {
    if (!(percentage > 0 && percentage < 100))
      fail("split: a percentage lies above 0 and below 100, found ", percentage,
           "; leave out a part that is not wanted");
    sum += percentage;
  }
  if (!(std::abs(sum - 100) < 1e-6)) fail("split: the percentages must add up to 100, found ", sum);
}

/// "90,5,5" as percentages.
inline std::vector<double> parse_percentages(std::string_view list) {
  std::vector<double> percentages;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view item = list.substr(begin, end - begin);
    // Digits with at most one point, read without the locale.
    double value = 0, unit = 1;
    bool digits = false, point = false, valid = item.size() <= 15;
    for (const char c : item) {
      if (c == '.' && !point) {
        point = true;
      } else if (c >= '0' && c <= '9') {
        digits = true;
        value = value * 10 + (c - '0');
        if (point) unit *= 10;
      } else {
        valid = false;
      }
    }
    if (!valid || !digits) fail("split: expected percentages such as 90,5,5, found \"", list, "\"");
    percentages.push_back(value / unit);
    begin = end + 1;
  }
  check_percentages(percentages);
  return percentages;
}

/// Cuts 0, ..., size − 1 into consecutive parts. The i-th border lies at ⌊size · (p_0 + ... + p_i) / 100⌋ and
/// is then moved by `snap(position) -> position`. An empty part is refused: `unit` names what is counted.
template <class Snap>
std::vector<Range> split(Index size, std::span<const double> percentages, std::string_view unit,
                         Snap&& snap) {
  check_percentages(percentages);
  std::vector<Range> parts;
  double sum = 0;
  for (std::size_t i = 0; i < percentages.size(); ++i) {
    const Index begin = parts.empty() ? 0 : parts.back().end;
    sum += percentages[i];
    Index end = size;
    if (i + 1 < percentages.size()) {
      // The small addition: 90 % of 10 is 9 also where the percentages carry rounding errors.
      const auto ideal = static_cast<Index>(std::floor(static_cast<double>(size) * sum / 100 + 1e-6));
      end = std::clamp(snap(std::clamp<Index>(ideal, 0, size)), begin, size);
    }
    if (end == begin)
      fail("split: the ", split_names[i], " part (", percentages[i], " % of ", size, " ", unit,
           ") would be empty");
    parts.push_back({begin, end});
  }
  return parts;
}

/// Cuts a token sequence anywhere.
inline std::vector<Range> split_tokens(Index size, std::span<const double> percentages) {
  return split(size, percentages, "tokens", [](Index position) { return position; });
}

/// Cuts texts that follow one another between lines: a border moves forward to where the next line begins.
/// The end of each text ends a line too. Positions are bytes of the whole.
inline std::vector<Range> split_lines(std::span<const std::string_view> texts,
                                      std::span<const double> percentages) {
  Index size = 0;
  for (const std::string_view part : texts) size += static_cast<Index>(part.size());
  return split(size, percentages, "bytes, cut between lines", [&](Index position) {
    Index begin = 0;  // of the text
    for (const std::string_view part : texts) {
      const Index end = begin + static_cast<Index>(part.size());
      if (position == begin) return position;
      if (position < end) {
        // A border right behind a line feed stays: search from the byte before it.
        const std::size_t feed = part.find('\n', static_cast<std::size_t>(position - begin - 1));
        return feed == part.npos ? end : begin + static_cast<Index>(feed) + 1;
      }
      begin = end;
    }
    return begin;
  });
}

/// Cuts a token sequence between documents: a border moves forward to behind the next `separator`.
inline std::vector<Range> split_documents(std::span<const std::int32_t> tokens, std::int32_t separator,
                                          std::span<const double> percentages) {
  const auto size = static_cast<Index>(tokens.size());
  return split(size, percentages, "tokens, cut between documents", [&](Index position) {
    while (position > 0 && position < size && tokens[static_cast<std::size_t>(position - 1)] != separator)
      ++position;
    return position;
  });
}

}  // namespace midus
