#include "midus/text/utf8.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace midus;

TEST_CASE("utf8: every character comes back") {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Character found = first_character(text + "x");
    if (!found.valid || found.value != c || found.bytes != text.size()) FAIL("U+" << static_cast<long>(c));
    if (unfinished_bytes(text) != 0) FAIL("unfinished: U+" << static_cast<long>(c));
    for (std::size_t cut = 1; cut < text.size(); ++cut)
      if (unfinished_bytes("a" + text.substr(0, cut)) != cut) FAIL("cut: U+" << static_cast<long>(c));
  }
}

TEST_CASE("utf8: what is none is replaced as Python and Rust do it") {
  const std::string r = "\xef\xbf\xbd";
  CHECK(replace_invalid_utf8("\x80") == r);
  CHECK(replace_invalid_utf8("a\xff"
                             "b") == "a" + r + "b");
  CHECK(replace_invalid_utf8("\xc0\xaf") == r + r);                  // two bytes for '/'
  CHECK(replace_invalid_utf8("\xed\xa0\x80") == r + r + r);          // a surrogate
  CHECK(replace_invalid_utf8("\xf4\x90\x80\x80") == r + r + r + r);  // beyond U+10FFFF
  CHECK(replace_invalid_utf8("\xf0\x9f\xa6") == r);                  // cut off: one for all its bytes
  CHECK(replace_invalid_utf8("\xf0\x9f\xa6x") == r + "x");
  CHECK(replace_invalid_utf8("\xe2\x82\xe2\x82\xac") == r + "\xe2\x82\xac");
  CHECK(replace_invalid_utf8("\xf0\x80\x80\x80") == r + r + r + r);
  CHECK(replace_invalid_utf8("") == "");
  CHECK(invalid_utf8("a\nbc\n").count == 0);
  const InvalidUtf8 invalid = invalid_utf8("a\n\n\xe2\x82\n\xff\xff");
  CHECK(invalid.count == 3);
  CHECK(invalid.line == 3);
  CHECK(is_utf8("abc\xe2\x82\xac"));
  CHECK_FALSE(is_utf8("abc\xe2\x82"));
}

TEST_CASE("utf8: bytes that can begin nothing are not waited for") {
  CHECK(unfinished_bytes("") == 0);
  CHECK(unfinished_bytes("a") == 0);
  CHECK(unfinished_bytes("\x80\x80\x80\x80") == 0);
  CHECK(unfinished_bytes("\xff") == 0);
  CHECK(unfinished_bytes("\xc1") == 0);
  CHECK(unfinished_bytes("\xe0\x80") == 0);  // no third byte makes it a character
  CHECK(unfinished_bytes("\xf0\x9f") == 2);
}
