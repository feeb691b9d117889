#include "midus/core/visit.hpp"

#include "support/catch.hpp"

namespace midus {
namespace {

TEST_CASE("path: parts are joined by dots, numbers included") {
  const Path layer = Path() / "model" / "layers" / 11;
  CHECK(layer.str() == "model.layers.11");
  CHECK((layer / std::string("self_attn") / std::string_view("q_proj")).str() ==
        "model.layers.11.self_attn.q_proj");
  CHECK((Path("lm_head") / "weight").str() == "lm_head.weight");
}

TEST_CASE("matches: stars, question marks and plain characters") {
  STATIC_REQUIRE(matches("*", ""));
  STATIC_REQUIRE(matches("", ""));
  STATIC_REQUIRE_FALSE(matches("", "a"));
  CHECK(matches("*.memory.*", "model.layers.3.memory.values"));
  CHECK_FALSE(matches("*.memory.*", "model.layers.3.memory"));
  CHECK(matches("model.layers.?.mlp.*", "model.layers.3.mlp.up_proj.weight"));
  CHECK_FALSE(matches("model.layers.?.mlp.*", "model.layers.13.mlp.up_proj.weight"));
  CHECK(matches("**a**b", "xxaxxbxb"));
  CHECK_FALSE(matches("a*b", "abc"));
  CHECK_FALSE(matches("abc", "ab"));
  CHECK(matches("a*", "a"));
  CHECK_FALSE(matches("?", ""));
  CHECK(matches("[ab].weight", "[ab].weight"));
}

TEST_CASE("matches: many stars do not take exponential time") {
  const std::string name(2000, 'a');
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "a*";
  CHECK_FALSE(matches(pattern + "b", name));
  CHECK(matches(pattern, name));
}

}  // namespace
}  // namespace midus
