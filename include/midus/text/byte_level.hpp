// The characters that stand for bytes in byte-level vocabularies (GPT-2's table).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "midus/text/utf8.hpp"

namespace midus {

/// The character for each byte: itself where it is printable and no blank, else one from U+0100 on.
inline const std::array<char32_t, 256>& byte_characters() {
  static const std::array<char32_t, 256> table = [] {
    std::array<char32_t, 256> characters{};
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
      characters[byte] = printable ? byte : next++;
    }
    return characters;
  }();
  return table;
}

/// "Ġa" for " a".
inline std::string to_byte_characters(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) append_utf8(out, byte_characters()[static_cast<unsigned char>(byte)]);
  return out;
}

/// " a" for "Ġa"; nothing where a character stands for no byte.
inline std::optional<std::string> from_byte_characters(std::string_view characters) {
  static const std::array<int, 0x144> bytes = [] {
    std::array<int, 0x144> table{};
    table.fill(-1);
    for (int byte = 0; byte < 256; ++byte) table[byte_characters()[static_cast<std::size_t>(byte)]] = byte;
    return table;
  }();
  std::string out;
  while (!characters.empty()) {
    const Utf8Character c = first_character(characters);
    if (!c.valid || c.value >= bytes.size() || bytes[c.value] < 0) return std::nullopt;
    out += static_cast<char>(static_cast<unsigned char>(bytes[c.value]));
    characters.remove_prefix(c.bytes);
  }
  return out;
}

}  // namespace midus
