#include "midus/io/json.hpp"

#include <cmath>
#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::message_of;
using midus::test::TemporaryDirectory;

namespace {

std::string refusal(const std::string& text, const JsonLimits& limits = {}) {
  return message_of([&] { parse_json(text, "dir/f.json", limits); });
}

}  // namespace

TEST_CASE("Values come out as they went in, in their order") {
  const std::string text = R"({
  "z": 1,
  "a": [
    0.0,
    -7,
    18446744073709551615,
    1e-05,
    Infinity,
    {
      "ü \"\\\n": NaN,
      "": -Infinity,
      "b": null
    }
  ],
  "m": {},
  "e": [],
  "t": "NaN, Infinity, \" -Infinity",
  "empty": "",
  "yes": true
})";
  const Json json = parse_json(text, "f.json");
  CHECK(dump_json(json) == text);
  CHECK(json["z"] == 1);
  CHECK(std::isinf(json["a"][4].get<double>()));
  CHECK(json["t"] == "NaN, Infinity, \" -Infinity");
  for (const char* scalar : {"1", "null", "\"\"", "NaN", "-Infinity", " [ ] "})
    CHECK(refusal(scalar) == "nothing was thrown");
}

TEST_CASE("Errors name file, line and column") {
  CHECK_THAT(refusal("{\n  \"a\": 1,\n  \"a\": 2}"),
             Contains("dir/f.json, line 3, column 5: the key \"a\" occurs twice"));
  CHECK_THAT(refusal(R"({"b": {"a": 1, "\u0061": 2}})"), Contains("\"a\" occurs twice"));
  CHECK(refusal(R"([{"a": 1}, {"a": 1}, {"b": {"a": {"a": 1}}}])") == "nothing was thrown");
  CHECK_THAT(refusal("{\"a\": 1,}"), Contains("dir/f.json, line 1, column 9: not JSON: syntax error"));
  CHECK_THAT(refusal("[1,\n 2\n 3]"), Contains("line 3, column 2: not JSON"));
  CHECK_THAT(refusal("{NaN: 1}"), Contains("line 1, column 3: not JSON: expected a key in quotes"));
  for (const char* text :
       {"",          " ",          "{",    "[1",         "\"a",         "nan",       "+1",    "01",
        "1.",        ".5",         "-",    "- Infinity", "NaNNaN",      "Infinity1", "1 2",   "'a'",
        "{\"a\" 1}", "// note\n1", "[1]]", "\"\\x\"",    "\"\\ud800\"", "\"\xff\"",  "\"\n\""})
    CHECK_THAT(refusal(text), Contains("dir/f.json, line ") && Contains("not JSON"));
  CHECK_THAT(refusal("1e999"), Contains("line 1, column 5: not JSON: number overflow"));
  CHECK_THAT(refusal(std::string("{}\0{", 4)), Contains("a zero byte"));
  CHECK_THAT(refusal("\xef\xbb\xbf{\"a\":}"), Contains("line 1, column 6"));
  CHECK(refusal("[" + std::string(100'000, 'x')).size() < 500);
}

TEST_CASE("Size and depth are bounded, long objects are not slow") {
  CHECK_THAT(refusal("[1, 2]", {.bytes = 5}),
             Contains("dir/f.json: expected at most 5 bytes of JSON, found 6"));
  CHECK(refusal("[[1]]", {.depth = 2}) == "nothing was thrown");
  CHECK_THAT(refusal("[[\n[1]]]", {.depth = 2}), Contains("line 2, column 1: nested more than 2 deep"));
  CHECK_THAT(refusal(std::string(1'000'000, '[')), Contains("nested more than 64 deep"));
  std::string text = "{\"a\": 0";
  for (int i = 0; i < 200'000; ++i) text += ",\"k" + std::to_string(i) + "\":" + std::to_string(i);
  const Json json = parse_json(text + "}", "f.json");  // quadratic time would take minutes
  CHECK(json.size() == 200'001);

  const TemporaryDirectory directory;
  const auto path = test::put_file(directory / "x.json", "[1, 2]");
  CHECK(read_json_file(path).size() == 2);
  CHECK_THAT(message_of([&] { read_json_file(path, {.bytes = 5}); }),
             Contains("x.json: expected at most 5 bytes"));
  CHECK_THAT(message_of([&] { read_json_file(directory / "none"); }), Contains("none: No such file"));
  CHECK_THAT(message_of([&] { read_json_file(directory.path()); }), Contains("found a directory"));
}
