// What kind of character a code point is, as the `tokenizers` library has it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/text/unicode_tables.hpp"

namespace midus {

/// Code points as ranges, both ends included, in order.
using CodePointRanges = std::vector<std::pair<char32_t, char32_t>>;

namespace detail {

template <std::size_t N>
bool within_edges(const std::uint32_t (&edges)[N], char32_t c) {
  return (std::upper_bound(std::begin(edges), std::end(edges), static_cast<std::uint32_t>(c)) -
          std::begin(edges)) %
             2 ==
         1;
}

}  // namespace detail

/// "Lu", "Nd", ...: the general category.
inline std::string_view general_category(char32_t c) {
  const std::uint32_t last = static_cast<std::uint32_t>(c) << 5 | 31;
  const auto run =
      std::upper_bound(std::begin(detail::unicode_runs), std::end(detail::unicode_runs), last) - 1;
  return detail::unicode_categories[*run & 31];
}

inline bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return detail::within_edges(detail::white_space_edges, c);
}

/// A number to the pre-tokenizer Digits: not only 0 to 9.
inline bool is_number(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return general_category(c)[0] == 'N' || detail::within_edges(detail::more_number_edges, c);
}

/// Part of a word, where an added token is to be a word of its own.
inline bool is_word_character(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  return detail::within_edges(detail::word_edges, c);
}

/// The code points of a category such as "Lu", or of a group of them such as "L".
inline CodePointRanges category_ranges(std::string_view name) {
  CodePointRanges ranges;
  const auto& runs = detail::unicode_runs;
  for (std::size_t i = 0; i < std::size(runs); ++i) {
    const std::string_view category = detail::unicode_categories[runs[i] & 31];
    if (category.substr(0, name.size()) != name) continue;
    const char32_t first = runs[i] >> 5,
                   last = i + 1 < std::size(runs) ? (runs[i + 1] >> 5) - 1 : char32_t{0x10FFFF};
    if (!ranges.empty() && ranges.back().second + 1 == first)
      ranges.back().second = last;
    else
      ranges.emplace_back(first, last);
  }
  return ranges;
}

inline CodePointRanges white_space_ranges() {
  CodePointRanges ranges;
  const auto& edges = detail::white_space_edges;
  for (std::size_t i = 0; i < std::size(edges); i += 2) ranges.emplace_back(edges[i], edges[i + 1] - 1);
  return ranges;
}

}  // namespace midus
