#include "midus/io/model_card.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace midus;

namespace {

using Texts = std::vector<std::string>;

/// The member of a card's head, nothing where it was not understood.
Texts member(const std::string& head, const std::string& key) {
  const ModelCard card = read_model_card("---\n" + head + "\n---\nbody\n");
  CHECK(card.body == "body\n");
  const auto found = card.head.find(key);
  return found == card.head.end() ? Texts() : found->second;
}

}  // namespace

TEST_CASE("a model's card: licence, language and base model are read") {
  const std::string head =
      "# a comment\nlicense: apache-2.0\nlanguage:\n- en\n-   \"de\" # German\n  - 'no'\nbase_model: [a/b, "
      "\"c/d\"]\n"
      "license_name: 'it''s mine: # really'\nlicense_link: https://example.org/a:b#c  # where\ntags:\n  "
      "nested: map\n"
      "widget:\n- text: a\nextra: |\n  license: mit\nempty:\nnothing: null";
  CHECK(member(head, "license") == Texts{"apache-2.0"});
  CHECK(member(head, "language") == Texts{"en", "de", "no"});
  CHECK(member(head, "base_model") == Texts{"a/b", "c/d"});
  CHECK(member(head, "license_name") == Texts{"it's mine: # really"});
  CHECK(member(head, "license_link") == Texts{"https://example.org/a:b#c"});
  for (const std::string key : {"tags", "widget", "extra", "empty", "nothing"})
    CHECK(member(head, key).empty());
  CHECK(member("license: \"a\\\"b\\u00e9\"", "license") == Texts{"a\"b\xc3\xa9"});
  CHECK(read_model_card("\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\ntext").head.at("license") == Texts{"mit"});
}

TEST_CASE("a model's card: what is no head, or no text, is passed over") {
  for (const std::string text :
       {"", "# A model\n\nlicense: mit\n", "---\nlicense: mit\n", "--- # x\nlicense: mit\n---\n"}) {
    const ModelCard card = read_model_card(text);
    CHECK(card.head.empty());
    CHECK(card.body == text);
  }
  for (const std::string value :
       {"&a mit", "*a", "!!str mit", "{a: b}", "[a, [b]]", "[a", "[a] b", "[]", "\"a", "\"a\" b", "'a",
        "'a' b", "|", "a: b", "- a", "\"\\x41\"", "%a", "@a", "`a`"})
    CHECK(member("license: " + value, "license").empty());
  CHECK(member("license: mit\nlicense: gpl", "license") == Texts{"mit"});
  CHECK(member("license: one\n  of two lines", "license").empty());
}

TEST_CASE("a model's card: no text from outside becomes more than a text") {
  const Texts hostile = {"a\n---\nlicense: mit", "\" # x", "\xff", "yes"};
  const std::string head = model_card_head({{"license", {hostile[0]}}, {"language", hostile}});
  CHECK(head ==
        "---\nlicense: \"a\\n---\\nlicense: mit\"\nlanguage:\n- \"a\\n---\\nlicense: mit\"\n- \"\\\" # "
        "x\"\n- \"\\ufffd\"\n- "
        "\"yes\"\n---\n");
  CHECK(read_model_card(head + "x").head.at("license") == Texts{hostile[0]});
}
