// Classes of characters in a regular expression: those of `tokenizers`, in PCRE2's language.
#pragma once

#include <cstddef>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/text/pcre2_code.hpp"
#include "midus/text/unicode.hpp"
#include "midus/text/utf8.hpp"

namespace midus::detail {

/// The code points that PCRE2's class `[...]` has, of all there are.
inline CodePointRanges ranges_of_pcre2(const std::string& one_class) {
  static const std::string all = [] {
    std::string text;
    for (char32_t c = 0; c <= 0x10FFFF; ++c)
      if (c < 0xD800 || c > 0xDFFF) append_utf8(text, c);
    return text;
  }();
  const auto code = compile_pcre2(one_class + "+");
  const std::unique_ptr<pcre2_match_data_8, Pcre2Free> data(
      pcre2_match_data_create_from_pattern_8(code.get(), nullptr));
  CodePointRanges ranges;
  for (std::size_t at = 0; at < all.size();) {
    const int result = pcre2_match_8(code.get(), reinterpret_cast<PCRE2_SPTR8>(all.data()), all.size(), at,
                                     PCRE2_NO_UTF_CHECK, data.get(), nullptr);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) fail(pcre2_message(result));
    const PCRE2_SIZE* const found = pcre2_get_ovector_pointer_8(data.get());
    const std::string_view text = all;
    const std::size_t last = last_character(text.substr(0, found[1]));
    ranges.emplace_back(first_character(text.substr(found[0])).value,
                        first_character(text.substr(last)).value);
    at = found[1];
  }
  return ranges;
}

/// A character by its number.
inline std::string character_text(char32_t c) {
  char number[16];
  std::snprintf(number, sizeof number, "\\x{%X}", static_cast<unsigned>(c));
  return number;
}

/// What stands in brackets for these code points.
inline std::string class_text(const CodePointRanges& ranges) {
  std::string out;
  for (const auto& [first, last] : ranges) {
    out += character_text(first);
    if (first != last) out.append("-").append(character_text(last));
  }
  return out;
}

/// Code points, and what stands in brackets for them.
struct CharacterClass {
  std::string text;
  CodePointRanges ranges;
};

/// The class of a `property_key` ("L", "han", "alpha"), or of what is not in it ("^L"); made once. PCRE2's
/// own class, which it finds faster, and what that lacks, where it has nothing too much. Throws `Error` where
/// there is no such property.
inline const CharacterClass& unicode_class(const std::string& name) {
  static std::map<std::string, CharacterClass> known;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  const bool negated = name[0] == '^';
  const std::string plain = negated ? name.substr(1) : name;
  std::optional<CodePointRanges> ranges = property_ranges(plain);
  if (!ranges)
    fail("the class \\p{", plain,
         "} is not supported: known are general categories, such as L or Nd, scripts, such "
         "as Han, and classes, such as alpha");
  if (negated) {
    CodePointRanges others = complement(*ranges);
    std::string text = class_text(others);
    return known[name] = {std::move(text), std::move(others)};
  }
  std::string own = plain == "space"            ? "\\s"
                    : plain.starts_with("word") ? "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}"
                                                : std::string();
  if (own.empty() && plain.size() <= 2 && plain != "Lc") own = "\\p{" + plain + "}";
  std::string text = class_text(*ranges);
  if (!own.empty()) {
    const CodePointRanges had = ranges_of_pcre2("[" + own + "]");
    if (difference(had, *ranges).empty()) text = own + class_text(difference(*ranges, had));
  }
  return known[name] = {std::move(text), *std::move(ranges)};
}

}  // namespace midus::detail
