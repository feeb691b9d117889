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
  REQUIRE(table["cases"].size() == 8);
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
  CHECK_THAT(refusal("{{ " + std::string(100'000, '(') + " }}"), Contains("too deeply"));
  CHECK_THAT(refusal("{{ " + std::string(100'000, '-') + "1 }}"), Contains("too deeply"));
  const std::string loops = "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}";
  CHECK_THAT(refusal(loops), Contains("makes too much"));
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
  put_file(directory / "tokenizer_config.json",
           R"({"eos_token": "</s>", "chat_template": [{"name": "rag", "template": "no"},)"
           R"({"name": "default", "template": "two{{ eos_token }}{{ '?' if add_generation_prompt }}"}]})");
  CHECK(text() == "two</s>?");
  put_file(directory / "chat_template.jinja", "three\n");
  CHECK(text() == "three");
  put_file(directory / "chat_template.jinja", "{% bad %}");
  CHECK_THAT(message_of(text), Contains("chat_template.jinja: {% bad %} is not supported"));
}
