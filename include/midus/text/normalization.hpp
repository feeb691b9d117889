// Unicode's normal forms and lower case (Unicode 16, UAX 15), as the `tokenizers` library has them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "midus/text/normalization_tables.hpp"
#include "midus/text/unicode.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// Composed or decomposed; K: what is only compatible becomes the same too (ﬁ becomes fi).
enum class NormalForm { nfc, nfd, nfkc, nfkd };

namespace detail {

/// The canonical combining class, or another number in the same order; 0: not a mark that moves.
inline int combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const auto& runs = combining_class_runs;
  const auto next =
      std::upper_bound(std::begin(runs), std::end(runs), static_cast<std::uint32_t>(c) << 8 | 0xFF);
  return static_cast<int>(*(next - 1) & 0xFF);
}

/// Korean syllables, which are reckoned: `count` of them, from consonants, vowels and final consonants.
struct Hangul {
  static constexpr char32_t first = 0xAC00, count = 11172, leading = 0x1100, leading_count = 19,
                            vowel = 0x1161, vowel_count = 21, trailing = 0x11A7, trailing_count = 28;
  static bool is_syllable(char32_t c) { return c - first < count; }
};

/// The tables in a form to look things up; made once.
class NormalizationTables {
 public:
  static const NormalizationTables& get() {
    static const NormalizationTables tables;
    return tables;
  }

  /// Appends the full decomposition of a code point.
  void decompose(char32_t c, bool compatible, std::u32string& out) const {
    if (Hangul::is_syllable(c)) {
      const char32_t at = c - Hangul::first, per_leading = Hangul::vowel_count * Hangul::trailing_count;
      out += Hangul::leading + at / per_leading;
      out += Hangul::vowel + at % per_leading / Hangul::trailing_count;
      if (at % Hangul::trailing_count != 0) out += Hangul::trailing + at % Hangul::trailing_count;
      return;
    }
    const std::u32string* const parts = parts_of(c, compatible);
    out += parts ? *parts : std::u32string(1, c);
  }

  /// The code point that two make; 0: none.
  char32_t composed(char32_t left, char32_t right) const {
    if (left - Hangul::leading < Hangul::leading_count && right - Hangul::vowel < Hangul::vowel_count)
      return Hangul::first + ((left - Hangul::leading) * Hangul::vowel_count + (right - Hangul::vowel)) *
                                 Hangul::trailing_count;
    if (Hangul::is_syllable(left) && (left - Hangul::first) % Hangul::trailing_count == 0 &&
        right - Hangul::trailing - 1 < Hangul::trailing_count - 1)
      return left + (right - Hangul::trailing);
    const auto found = composed_.find(key(left, right));
    return found == composed_.end() ? 0 : found->second;
  }

  /// Whether a code point stays as it is whatever stands before it, and nothing before it moves behind it.
  bool stays(char32_t c, NormalForm form) const { return !changes_[static_cast<std::size_t>(form)][c]; }

 private:
  NormalizationTables() {
    std::vector<char32_t> excluded;
    read(canonical_decompositions, canonical_, &excluded);
    read(compatible_decompositions, compatible_, nullptr);
    // Shorter ones first: the last code point of a decomposition joins what the others make.
    std::vector<std::pair<const char32_t, std::u32string>*> by_length;
    for (auto& entry : canonical_)
      if (entry.second.size() > 1 && !std::binary_search(excluded.begin(), excluded.end(), entry.first))
        by_length.push_back(&entry);
    std::sort(by_length.begin(), by_length.end(), [](const auto* a, const auto* b) {
      return std::pair(a->second.size(), a->first) < std::pair(b->second.size(), b->first);
    });
    std::vector<bool> joins(0x110000);
    for (const auto* const entry : by_length) {
      const std::u32string& parts = entry->second;
      char32_t left = parts[0];
      for (std::size_t i = 1; i + 1 < parts.size(); ++i) left = composed(left, parts[i]);
      composed_.emplace(key(left, parts.back()), entry->first);
      joins[parts.back()] = true;
    }
    for (char32_t i = 0; i < Hangul::vowel_count; ++i) joins[Hangul::vowel + i] = true;
    for (char32_t i = 1; i < Hangul::trailing_count; ++i) joins[Hangul::trailing + i] = true;
    for (const NormalForm form : {NormalForm::nfc, NormalForm::nfd, NormalForm::nfkc, NormalForm::nfkd}) {
      const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
      const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
      std::vector<bool>& changes = changes_[static_cast<std::size_t>(form)];
      if (compose) changes = joins;
      changes.resize(0x110000);
      for (std::size_t c = 0x300; c < changes.size(); ++c)
        if (combining_class(static_cast<char32_t>(c)) != 0) changes[c] = true;
      if (!compose)
        for (char32_t i = 0; i < Hangul::count; ++i) changes[Hangul::first + i] = true;
      for (const auto& [c, parts] : canonical_)
        if (!compose || parts.size() == 1 || std::binary_search(excluded.begin(), excluded.end(), c))
          changes[c] = true;
      if (compatible)
        for (const auto& [c, parts] : compatible_) changes[c] = true;
    }
  }

  template <std::size_t N>
  static void read(const std::uint32_t (&table)[N], std::unordered_map<char32_t, std::u32string>& out,
                   std::vector<char32_t>* excluded) {
    for (std::size_t i = 0; i < N;) {
      const char32_t c = table[i] >> 8;
      const std::size_t count = table[i] & 0x7F;
      if (excluded && (table[i] & 0x80) == 0) excluded->push_back(c);
      out.emplace(c, std::u32string(table + i + 1, table + i + 1 + count));
      i += 1 + count;
    }
  }
  const std::u32string* parts_of(char32_t c, bool compatible) const {
    if (compatible)
      if (const auto found = compatible_.find(c); found != compatible_.end()) return &found->second;
    const auto found = canonical_.find(c);
    return found == canonical_.end() ? nullptr : &found->second;
  }
  static std::uint64_t key(char32_t left, char32_t right) {
    return static_cast<std::uint64_t>(left) << 32 | right;
  }

  std::unordered_map<char32_t, std::u32string> canonical_, compatible_;
  std::unordered_map<std::uint64_t, char32_t> composed_;
  std::vector<bool> changes_[4];
};

/// Appends the normal form of code points that touch nothing else.
inline void append_normal_form(const std::u32string& text, NormalForm form, std::string& out) {
  const NormalizationTables& tables = NormalizationTables::get();
  std::u32string parts;
  for (const char32_t c : text)
    tables.decompose(c, form == NormalForm::nfkc || form == NormalForm::nfkd, parts);
  for (auto begin = parts.begin(); begin != parts.end();) {  // marks behind a letter by their class
    if (combining_class(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, parts.end(), [](char32_t c) { return combining_class(c) == 0; });
    std::stable_sort(begin, end,
                     [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
  if (form == NormalForm::nfc || form == NormalForm::nfkc) {
    std::u32string composed;
    std::size_t starter = composed.npos;
    int last_class = -1;  // of what stands behind the starter; -1: nothing
    for (const char32_t c : parts) {
      const int own_class = combining_class(c);
      if (starter != composed.npos && last_class < own_class)
        if (const char32_t both = tables.composed(composed[starter], c)) {
          composed[starter] = both;
          continue;
        }
      if (own_class == 0) {
        starter = composed.size();
        last_class = -1;
      } else {
        last_class = own_class;
      }
      composed += c;
    }
    parts = std::move(composed);
  }
  for (const char32_t c : parts) append_utf8(out, c);
}

}  // namespace detail

/// The normal form of a text, which must be UTF-8.
inline std::string normal_form(std::string_view text, NormalForm form) {
  const detail::NormalizationTables& tables = detail::NormalizationTables::get();
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0,
              last = 0;  // all before `done` is in `out`; the last character that stays begins at `last`
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character c = first_character(text.substr(at));
    if (tables.stays(c.value, form)) {
      last = at;
      at += c.bytes;
      continue;
    }
    // From the character before, which this one may join, to the next one that stays.
    out.append(text.substr(done, last - done));
    std::u32string touched;
    for (at = last; at < text.size();) {
      const Utf8Character next = first_character(text.substr(at));
      if (at > last && tables.stays(next.value, form)) break;
      touched += next.value;
      at += next.bytes;
    }
    detail::append_normal_form(touched, form, out);
    done = last = at;
  }
  return out.append(text.substr(done));
}

/// A text, which must be UTF-8, in small letters: each character on its own.
inline std::string lower_case(std::string_view text) {
  static const std::unordered_map<char32_t, char32_t> small = [] {
    std::unordered_map<char32_t, char32_t> map;
    const auto& runs = detail::lower_case_runs;
    for (std::size_t i = 0; i < std::size(runs); i += 4)
      for (std::int32_t c = runs[i]; c <= runs[i + 1]; c += runs[i + 2])
        map.emplace(static_cast<char32_t>(c), static_cast<char32_t>(c + runs[i + 3]));
    return map;
  }();
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Character c = first_character(text);
    if (c.value < 0x80) {
      out += static_cast<char>(c.value >= 'A' && c.value <= 'Z' ? c.value + ('a' - 'A') : c.value);
    } else if (c.value == 0x130) {  // the one that becomes two: i and a dot
      out += "i\xcc\x87";
    } else {
      const auto found = small.find(c.value);
      append_utf8(out, found == small.end() ? c.value : found->second);
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

/// Whether StripAccents takes a character away.
inline bool is_accent(char32_t c) { return c >= 0x300 && detail::within_edges(detail::accent_edges, c); }

}  // namespace midus
