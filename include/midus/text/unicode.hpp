// What kind of character a code point is, as the `tokenizers` library has it.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
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

/// Python's str.isspace().
inline bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

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

/// Ranges in any order, as ranges in order that do not touch.
inline CodePointRanges united(CodePointRanges ranges) {
  std::sort(ranges.begin(), ranges.end());
  CodePointRanges out;
  for (const auto& [first, last] : ranges) {
    if (!out.empty() && first <= out.back().second + 1)
      out.back().second = std::max(out.back().second, last);
    else
      out.emplace_back(first, last);
  }
  return out;
}

/// What of `a` is not in `b`, both in order. Surrogates, which never occur, count for nothing.
inline CodePointRanges difference(const CodePointRanges& a, const CodePointRanges& b) {
  CodePointRanges out;
  const auto add = [&](char32_t first, char32_t last) {
    if (first <= 0xDFFF && last >= 0xD800) {
      if (first < 0xD800) out.emplace_back(first, char32_t{0xD7FF});
      if (last > 0xDFFF) out.emplace_back(char32_t{0xE000}, last);
    } else {
      out.emplace_back(first, last);
    }
  };
  auto other = b.begin();
  for (auto [first, last] : a) {
    while (other != b.end() && other->second < first) ++other;
    for (auto next = other; next != b.end() && next->first <= last && first <= last; ++next) {
      if (next->first > first) add(first, next->first - 1);
      first = next->second + 1;
    }
    if (first <= last) add(first, last);
  }
  return out;
}

/// All code points that are not in these ranges.
inline CodePointRanges complement(const CodePointRanges& ranges) {
  return difference({{0, 0x10FFFF}}, ranges);
}

/// Ranges as the tables have them: where they begin and where they end, in turns.
template <std::size_t N>
CodePointRanges ranges_of_edges(const std::uint32_t (&edges)[N]) {
  CodePointRanges ranges;
  for (std::size_t i = 0; i < N; i += 2) ranges.emplace_back(edges[i], edges[i + 1] - 1);
  return ranges;
}

inline CodePointRanges white_space_ranges() { return ranges_of_edges(detail::white_space_edges); }

namespace detail {

/// The members of a script by its name or code, in small letters; none: there is no such script.
inline CodePointRanges script_ranges(std::string_view name) {
  for (std::size_t script = 0; script < std::size(unicode_scripts); ++script) {
    const std::string names = ":" + std::string(unicode_scripts[script]) + ":";
    if (names.find(":" + std::string(name) + ":") == names.npos) continue;
    CodePointRanges ranges;
    for (std::size_t i = 0; i < std::size(script_runs); ++i)
      if ((script_runs[i] & 0xFF) == script)
        ranges.emplace_back(script_runs[i] >> 8,
                            i + 1 < std::size(script_runs) ? (script_runs[i + 1] >> 8) - 1 : 0x10FFFFu);
    return ranges;
  }
  return {};
}

/// Long names of general categories, in small letters.
inline constexpr std::pair<std::string_view, std::string_view> category_names[] = {
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"unassigned", "Cn"},
    {"privateuse", "Co"},
    {"letter", "L"},
    {"lowercaseletter", "Ll"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"titlecaseletter", "Lt"},
    {"uppercaseletter", "Lu"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"nonspacingmark", "Mn"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"closepunctuation", "Pe"},
    {"finalpunctuation", "Pf"},
    {"initialpunctuation", "Pi"},
    {"otherpunctuation", "Po"},
    {"openpunctuation", "Ps"},
    {"symbol", "S"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"mathsymbol", "Sm"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"spaceseparator", "Zs"}};

}  // namespace detail

/// A property's name as the tables have it: "Lu" for a general category, else small letters alone.
inline std::string property_key(std::string_view name) {
  std::string key;
  for (const char c : name)
    if (c != ' ' && c != '-' && c != '_')
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const auto& [long_name, category] : detail::category_names)
    if (key == long_name) return std::string(category);
  std::string category = key;
  if (!category.empty())
    category[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(category[0])));
  return category == "Lc" || (key.size() <= 2 && !category_ranges(category).empty()) ? category : key;
}

/// The code points of a property that a regular expression names: a general category, a script, or a class
/// such as "alpha". Takes a `property_key`; nothing where midus knows no such property.
inline std::optional<CodePointRanges> property_ranges(std::string_view key) {
  const auto all_of = [](std::initializer_list<CodePointRanges> parts) {
    CodePointRanges all;
    for (const CodePointRanges& part : parts) all.insert(all.end(), part.begin(), part.end());
    return united(std::move(all));
  };
  const auto category = [](std::string_view name) { return category_ranges(name); };
  const auto graph = [&] {
    return complement(all_of({white_space_ranges(), category("Cc"), category("Cn")}));
  };
  const auto alpha = [&] {
    return all_of({category("L"), category("Nl"), ranges_of_edges(detail::more_alphabetic_edges)});
  };
  if (key.empty()) return std::nullopt;
  if (key == "Lc") return all_of({category("Lu"), category("Ll"), category("Lt")});
  if (key == "any") return CodePointRanges{{0, 0x10FFFF}};
  if (key == "assigned") return complement(category("Cn"));
  if (key == "ascii") return CodePointRanges{{0, 0x7F}};
  if (key == "space" || key == "whitespace") return white_space_ranges();
  if (key == "word") return ranges_of_edges(detail::regex_word_edges);
  if (key == "word alone")  // \w outside of brackets: Oniguruma takes six digits of Latin-1 for letters there
    return all_of({ranges_of_edges(detail::regex_word_edges), {{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}}});
  if (key == "alpha" || key == "alphabetic") return alpha();
  if (key == "alnum") return all_of({alpha(), category("Nd")});
  if (key == "lower" || key == "lowercase")
    return all_of({category("Ll"), ranges_of_edges(detail::more_lower_edges)});
  if (key == "upper" || key == "uppercase")
    return all_of({category("Lu"), ranges_of_edges(detail::more_upper_edges)});
  if (key == "blank") return all_of({category("Zs"), {{'\t', '\t'}}});
  if (key == "cntrl") return category("Cc");
  if (key == "digit") return category("Nd");
  if (key == "punct") return category("P");
  if (key == "[:punct:]") return all_of({category("P"), category("S")});
  if (key == "xdigit") return CodePointRanges{{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
  if (key == "graph") return graph();
  if (key == "print") return difference(all_of({graph(), category("Zs")}), category("Cc"));
  CodePointRanges ranges =
      std::isupper(static_cast<unsigned char>(key[0])) ? category(key) : detail::script_ranges(key);
  if (ranges.empty()) return std::nullopt;
  return ranges;
}

}  // namespace midus
