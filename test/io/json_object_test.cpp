#include "midus/io/json_object.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;

TEST_CASE("Members are read with their type, or refused with their name") {
  const Json json =
      parse_json(R"({"i": 3, "f": 3.0, "e": 1e5, "x": 2.5, "big": 9223372036854775808, "huge": 1e17,
      "s": "t", "b": true, "n": null, "l": [1, 2.0], "m": [1, "2"], "ts": ["a", "b"], "nan": NaN,
      "o": {"k": 1, "long": "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"}})",
                 "f.json");
  const JsonObject object(json, "f.json");
  CHECK(object.integer("i", 0, 3) == 3);
  CHECK(object.integer("f", 0, 3) == 3);
  CHECK(object.integer("e", 0, 1'000'000) == 100'000);
  CHECK(object.integer("n", 0, 3, 7) == 7);
  CHECK(object.integer("absent", 0, 3, 7) == 7);
  CHECK(object.number("x", 0, 3) == 2.5);
  CHECK(object.number("i", 0, 3) == 3);
  CHECK(object.number("absent", 0, 3, 1) == 1);
  CHECK(object.boolean("b", false));
  CHECK(object.boolean("n", true));
  CHECK(object.string("s") == "t");
  CHECK(object.string("n", "d") == "d");
  CHECK(object.integers("l", 1, 2) == std::vector<Index>{1, 2});
  CHECK(object.strings("ts") == std::vector<std::string>{"a", "b"});
  CHECK(object.object("o").integer("k", 1, 1) == 1);
  CHECK_FALSE(object.has("n"));
  const auto says = [](auto&& f, const std::string& message) { CHECK(message_of(f) == message); };
  says([&] { object.integer("i", 4, 9); }, "f.json: \"i\" must be an integer from 4 to 9, found 3");
  says([&] { object.integer("x", 0, 9); }, "f.json: \"x\" must be an integer from 0 to 9, found 2.5");
  says([&] { object.integer("big", 0, 9); },
       "f.json: \"big\" must be an integer from 0 to 9, found 9223372036854775808");
  says([&] { object.integer("huge", 0, 9); }, "f.json: \"huge\" must be an integer from 0 to 9, found 1e+17");
  says([&] { object.integer("n", 0, 9); }, "f.json: \"n\" is missing; expected an integer from 0 to 9");
  says([&] { object.integer("nan", 0, 9); }, "f.json: \"nan\" must be an integer from 0 to 9, found NaN");
  says([&] { object.number("nan", 0, 9); },
       "f.json: \"nan\" must be a number greater than 0 and at most 9, found NaN");
  says([&] { object.number("s", 0, 9); },
       "f.json: \"s\" must be a number greater than 0 and at most 9, found \"t\"");
  says([&] { object.boolean("i", true); }, "f.json: \"i\" must be true or false, found 3");
  says([&] { object.string("i"); }, "f.json: \"i\" must be a text in quotes, found 3");
  says([&] { object.integers("m", 0, 9); },
       "f.json: \"m\" must be a list of integers from 0 to 9, found [1, \"2\"]");
  says([&] { object.integers("l", 0, 1); },
       "f.json: \"l\" must be a list of integers from 0 to 1, found [1, 2.0]");
  says([&] { object.strings("m"); }, "f.json: \"m\" must be a list of texts, found [1, \"2\"]");
  says([&] { object.object("s"); }, "f.json: \"s\" must be an object {...}, found \"t\"");
  says([&] { object.object("o").integer("z", 0, 9); },
       "f.json: \"o.z\" is missing; expected an integer from 0 to 9");
  says(
      [&] {
        object.object("o").allow_only({"a", "long"});
      },
      "f.json: \"o.k\" is not known; known are a, long");
  says([&] { object.integer("o", 0, 9); },
       "f.json: \"o\" must be an integer from 0 to 9, found {\"k\": 1, \"long\": \"" + std::string(59, 's') +
           "...");
}
