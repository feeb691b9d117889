#include "midus/text/chat_template.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

std::string rendered(const std::string& source, const std::string& variables = "{}") {
  return ChatTemplate(source)(parse_json(variables, "the test"));
}
std::string refusal(const std::string& source) {
  return message_of([&] { rendered(source); });
}

}  // namespace

TEST_CASE("chat_template: the texts that transformers makes") {
  const Json table = read_json_file(std::string(MIDUS_SOURCE_DIR) + "/test/text/chat_templates.json");
  REQUIRE(table["cases"].size() == 16);
  for (const Json& one : table["cases"]) {
    INFO(one[0].dump());
    CHECK(ChatTemplate(one[0].get<std::string>())(table["variables"]) == one[1].get<std::string>());
  }
}

TEST_CASE("chat_template: errors are the template's own, or name what is not supported") {
  CHECK_THAT(refusal("{{ raise_exception('roles must alternate') }}"), Contains("roles must alternate"));
  CHECK(rendered("{{ raise_exception('no') if x else 'fine' }}{{ x and raise_exception('no') }}") == "fine");
  CHECK_THAT(refusal("{% macro f() %}{% endmacro %}"), Contains("{% macro %} is not supported"));
  CHECK_THAT(refusal("{{ x | groupby('a') }}"), Contains("the filter groupby is not supported"));
  CHECK_THAT(refusal("{{ x.strip() }}"), Contains("not defined") || Contains("the method strip"));
  CHECK_THAT(refusal("{{ [] | tojson(indent=4) }}"), Contains("the filter tojson with indent"));
  CHECK_THAT(refusal("{{ f(1) }}"), Contains("the function f is not supported"));
  CHECK_THAT(refusal("{{ 'a' + 1 }}"), Contains("cannot reckon"));
  CHECK_THAT(refusal("{{ 1 / 2 }}"), Contains("what begins with \"/ 2"));
  CHECK_THAT(refusal("{{ 'a }}"), Contains("has no end"));
  CHECK_THAT(refusal("{% if x %}"), Contains("{% if %} has no end"));
  CHECK_THAT(refusal("{{ ( }}"), Contains("has no end"));
  CHECK_THAT(refusal("{{ " + std::string(100'000, '(') + '1' + std::string(100'000, ')') + " }}"),
             Contains("too deeply"));
  CHECK_THAT(refusal("{{ " + std::string(100'000, '-') + "1 }}"), Contains("too deeply"));
  const std::string loops = "{% for i in range(400) %}{% for j in range(400) %}x{% endfor %}{% endfor %}";
  CHECK_THAT(refusal(loops), Contains("makes too much"));
}

TEST_CASE("chat_template: blocks inside one another have a limit, and their ends are found at once") {
  const auto nested = [](const std::string& begin, const std::string& end, int times) {
    std::string source = "x";
    for (int i = 0; i < times; ++i) source.append(end);
    std::string begins;
    for (int i = 0; i < times; ++i) begins.append(begin);
    return begins + source;
  };
  CHECK(rendered(nested("{% if true %}", "{% endif %}", 100)) == "x");
  CHECK_THAT(refusal(nested("{% if true %}", "{% endif %}", 5'000)), Contains("too deeply"));
  CHECK_THAT(refusal(nested("{% for i in [1] %}", "{% endfor %}", 5'000)), Contains("too deeply"));
  CHECK(rendered(nested("{% if false %}", "{% endif %}", 5'000)).empty());
  CHECK_THAT(refusal("{% if a %}{% endfor %}"), Contains("{% endfor %} without its beginning"));
  CHECK_THAT(refusal("{% for i in x %}{% endfor %}{% break %}"), Contains("{% break %} outside of a loop"));
  CHECK_THAT(refusal("{% if a %}{% else %}{% elif b %}{% endif %}"), Contains("{% elif %} without"));
}

TEST_CASE("chat_template: values have a limit, however they grow") {
  const std::string long_text = "namespace(x='" + std::string(1000, 'a') + "')";
  for (const std::string grown : {"ns.x + ns.x", "ns.x ~ ns.x", "[ns.x, ns.x]", "{'a': ns.x, 'b': ns.x}",
                                  "ns.x | replace('a', 'aa')", "ns.x | join(ns.x)", "dict(a=ns.x, b=ns.x)"}) {
    INFO(grown);
    const std::string loop = "{% for i in range(9999) %}{% set ns.x = " + grown + " %}{% endfor %}";
    CHECK_THAT(refusal("{% set ns = " + long_text + " %}" + loop), Contains("makes too much"));
  }
  CHECK_THAT(
      refusal("{% set ns = namespace(x=1) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}"),
      Contains("nested too deeply"));
  const std::string doubled =
      "{% set a = namespace(x='a') %}{% for i in range(22) %}{% set a.x = a.x + a.x %}{% endfor %}";
  CHECK_THAT(refusal(doubled + "{{ (a.x + 'b') in a.x }}"), Contains("makes too much"));
  CHECK_THAT(refusal(doubled + "{{ [" + std::string(400, ' ') + "a.x" +
                     [] {
                       std::string more;
                       for (int i = 0; i < 400; ++i) more += ", a.x";
                       return more;
                     }() +
                     "] }}"),
             Contains("makes too much"));
}

TEST_CASE("chat_template: what would be another text than Python's is refused") {
  for (const std::string asked :
       {"1_000", "0x1f", "1e5", "1.", "007", "'\\N{BULLET}'", "'\\ud83d'", "'\\xg1'", "'\\U00110000'",
        "1 < 2 < 3", "{1: 2}", "'a'.startswith('a', 1)", "'a'.upper(1)", "'a' | upper(1)", "'a'.split()",
        "namespace({})", "{}.cycle('a')", "'a'.strip(chars='a')"}) {
    INFO(asked);
    CHECK_THAT(refusal("{{ " + asked + " }}"), Contains("is not supported"));
  }
  CHECK_THAT(refusal("{% for x in [1] recursive %}{% endfor %}"), Contains("recursive"));
  CHECK_THAT(refusal("{{ range(1, 9, 0) | join }}"), Contains("steps of zero"));
  CHECK_THAT(refusal("{{ range(1000000) | join }}"), Contains("longer than 100000"));
  CHECK_THAT(refusal("{{ strftime_now }}"), Contains("a function is printed"));
  CHECK_THAT(refusal("{{ 5 | length }}"), Contains("the length of what has none"));
  CHECK_THAT(refusal("{{ 1 | join }}"), Contains("a list is wanted"));
  CHECK_THAT(refusal("{{ nothing | tojson }}"), Contains("tojson of what is not defined"));
  CHECK_THAT(refusal("{{ 'abc'['a':] }}"), Contains("a part begins or ends at no number"));
  CHECK_THAT(message_of([] { rendered("{{ x }}", R"({"x": 1e300})"); }), Contains("large or small"));
}

TEST_CASE("chat_template: half a character and values of other kinds are no other library's errors") {
  const auto half = [](const std::string& source) {
    return ChatTemplate(source)(Json{{"x", "H\xc3"}, {"o", Json{{"\xe2\x82", 1}}}});
  };
  CHECK(half("{{ x | tojson }}{{ o | tojson }}{{ x | length }}") ==
        "\"H\xEF\xBF\xBD\"{\"\xEF\xBF\xBD\": 1}2");
  CHECK_THAT(refusal("{{ '\xc3' | tojson }}"), Contains("is not UTF-8"));
  CHECK_THAT(refusal("{% set ns = 'x' %}{% set ns.y = 1 %}"), Contains("ns is no namespace"));
  CHECK_THAT(refusal("{% set ns.y = 1 %}"), Contains("ns is no namespace"));
  CHECK_THAT(refusal("{% for a, b in [[1, 2, 3]] %}{% endfor %}"), Contains("2 names over items of 3"));
  CHECK_THAT(refusal("{% for a, b in [5] %}{% endfor %}"), Contains("a list is wanted"));
  CHECK_THAT(refusal("{% for a in 5 %}{% endfor %}"), Contains("a list is wanted"));
  CHECK_THAT(message_of([] { rendered("x", "[1]"); }), Contains("no object"));
}

TEST_CASE("chat_template: where a model's directory has it") {
  const TemporaryDirectory directory;
  const Json messages = parse_json(R"([{"role": "user", "content": "Hi"}])", "the test");
  const auto text = [&] { return chat_text(directory.path(), messages); };
  CHECK_THAT(message_of(text), Contains("has no chat template"));
  put_file(
      directory / "tokenizer_config.json",
      R"({"bos_token": {"content": "<s>"}, "chat_template": "{{ bos_token }}one {{ messages[0].content }}"})");
  CHECK(text() == "<s>one Hi");
  put_file(directory / "special_tokens_map.json", R"({"bos_token": {"content": "<b>"}, "pad_token": null})");
  CHECK(text() == "<b>one Hi");
  put_file(directory / "tokenizer_config.json",
           R"({"bos_token": "<s>", "added_tokens_decoder": {}, "chat_template": "{{ bos_token }}one"})");
  CHECK(text() == "<s>one");  // as transformers has it
  std::filesystem::remove(directory / "special_tokens_map.json");
  put_file(directory / "tokenizer_config.json",
           R"({"eos_token": "</s>", "chat_template": [{"name": "rag", "template": "no"},)"
           R"({"name": "default", "template": "two{{ eos_token }}{{ '?' if add_generation_prompt }}"}]})");
  CHECK(text() == "two</s>?");
  put_file(directory / "tokenizer_config.json",
           R"({"chat_template": [{"name": null, "template": "no"}, 1, {"name": "default"},)"
           R"({"name": "default", "template": null}]})");
  CHECK_THAT(message_of(text), Contains("has no chat template"));
  put_file(directory / "tokenizer_config.json", "[1]");
  CHECK_THAT(message_of(text), Contains("expected an object"));
  std::filesystem::remove(directory / "tokenizer_config.json");
  put_file(directory / "chat_template.jinja", "three\n");
  CHECK(text() == "three");
  put_file(directory / "chat_template.jinja", "{% bad %}");
  CHECK_THAT(message_of(text), Contains("chat_template.jinja: {% bad %} is not supported"));
}
