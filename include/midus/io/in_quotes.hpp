// Text from outside, made fit for a message or a command line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace midus {

/// `text` in quotes for an error message: control characters escaped, and cut after `longest` bytes (a name
/// in a hostile file may be 100 MB long or move the cursor of a terminal).
inline std::string in_quotes(std::string_view text, std::size_t longest = 160) {
  static constexpr char hex[] = "0123456789abcdef";
  std::size_t length = text.size();
  if (length > longest) {  // not inside a UTF-8 sequence
    length = longest;
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
  }
  std::string out = "\"";
  for (const char c : text.substr(0, length)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += hex[byte >> 4];
      out += hex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + (length < text.size() ? "...\"" : "\"");
}

/// `text` as one word of a shell's command line: in single quotes where it needs them.
inline std::string shell_quoted(std::string_view text) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(plain) == text.npos) return std::string(text);
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace midus
