// UTF-8, character by character.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "midus/core/shape.hpp"

namespace midus {

/// The character at the beginning of a text. What is no character is U+FFFD with `valid` false, and as many
/// bytes as could have begun one (Unicode 16, table 3-7; Python's and Rust's way to replace).
struct Utf8Character {
  char32_t value;
  std::size_t bytes;
  bool valid;
};

/// Throws nothing; `text` must not be empty.
inline Utf8Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return {0xFFFD, 1, false};
  char32_t value = lead & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i) {
    unsigned char low = 0x80, high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;   // not what two bytes could say
      if (lead == 0xED) high = 0x9F;  // no surrogate
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;  // at most U+10FFFF
    }
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {0xFFFD, i, false};
    value = value << 6 | (byte(i) & 0x3F);
  }
  return {value, length, true};
}

/// Whether a byte is inside of a character: not its first.
inline bool is_inside_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// Where the last character of a text begins; `text` must not be empty.
inline std::size_t last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && is_inside_character(text[at])) --at;
  return at;
}

/// The number of characters, as Python's len() counts them.
inline Index characters_in(std::string_view text) {
  Index count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(first_character(text).bytes);
  return count;
}

/// How many bytes at the end of a text may be the beginning of a character whose rest is still to come.
inline std::size_t unfinished_bytes(std::string_view text) {
  for (std::size_t count = 1; count <= 3 && count <= text.size(); ++count) {
    const std::string_view end = text.substr(text.size() - count);
    const auto lead = static_cast<unsigned char>(end[0]);
    if (lead < 0x80) return 0;
    if (lead < 0xC0) continue;  // inside of a character
    const Utf8Character character = first_character(end);
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    return !character.valid && character.bytes == count && count < length && lead >= 0xC2 && lead <= 0xF4
               ? count
               : 0;
  }
  return 0;
}

inline void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) return put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  if (c < 0x10000) return put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
}

inline bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    for (std::uint64_t eight; text.size() >= sizeof eight; text.remove_prefix(sizeof eight)) {  // ASCII
      std::memcpy(&eight, text.data(), sizeof eight);
      if ((eight & 0x8080808080808080) != 0) break;
    }
    if (text.empty()) return true;
    const Utf8Character character = first_character(text);
    if (!character.valid) return false;
    text.remove_prefix(character.bytes);
  }
  return true;
}

/// What of a text is no UTF-8: how often `replace_invalid_utf8` has to put U+FFFD, and in which line it does
/// so first (0: nowhere).
struct InvalidUtf8 {
  std::size_t count = 0, line = 0;
};
inline InvalidUtf8 invalid_utf8(std::string_view text) {
  InvalidUtf8 invalid;
  for (std::size_t line = 1; !text.empty();) {
    const Utf8Character character = first_character(text);
    if (!character.valid && invalid.count++ == 0) invalid.line = line;
    line += character.value == '\n' ? 1 : 0;
    text.remove_prefix(character.bytes);
  }
  return invalid;
}

/// The text with U+FFFD in place of what is no UTF-8: the rule for all text from outside, which is that of
/// Python's bytes.decode("utf-8", "replace").
inline std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Character character = first_character(text);
    if (character.valid)
      out.append(text.substr(0, character.bytes));
    else
      append_utf8(out, character.value);
    text.remove_prefix(character.bytes);
  }
  return out;
}

}  // namespace midus
