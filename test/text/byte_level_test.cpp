#include "midus/text/byte_level.hpp"

#include <set>

#include "support/catch.hpp"

using namespace midus;

TEST_CASE("byte level: 256 characters, there and back") {
  std::set<char32_t> characters(byte_characters().begin(), byte_characters().end());
  CHECK(characters.size() == 256);
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  CHECK(from_byte_characters(to_byte_characters(all)) == all);
  CHECK(to_byte_characters(" a\n") == "Ġa\xc4\x8a");
  CHECK(to_byte_characters("\xe1\xa0\x8e\xc2\x85") == "áłİÂħ");
  CHECK_FALSE(from_byte_characters("a b"));  // a blank stands for no byte
  CHECK_FALSE(from_byte_characters("\xe2\x96\x81"));
  CHECK_FALSE(from_byte_characters("\xff"));
}
