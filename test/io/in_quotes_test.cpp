#include "midus/io/in_quotes.hpp"

#include <string>

#include "support/catch.hpp"

using namespace midus;

TEST_CASE("Text from outside in a message") {
  CHECK(in_quotes("model.norm") == "\"model.norm\"");
  CHECK(in_quotes(std::string("a\0\x1b\x7f\n", 5)) == "\"a\\u0000\\u001b\\u007f\\u000a\"");
  CHECK(in_quotes("abcdef", 3) == "\"abc...\"");
  CHECK(in_quotes("aü", 2) == "\"a...\"");  // not half of a character
  CHECK(in_quotes("aü", 3) == "\"aü\"");
}

TEST_CASE("shell_quoted: one word, whatever is in it") {
  CHECK(shell_quoted("runs/one=2") == "runs/one=2");
  CHECK(shell_quoted("") == "''");
  CHECK(shell_quoted("two words") == "'two words'");
  CHECK(shell_quoted("*.memory.values=5") == "'*.memory.values=5'");
  CHECK(shell_quoted("it's $HOME") == "'it'\\''s $HOME'");
}
