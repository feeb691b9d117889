#include "midus/text/tokenizer_reader.hpp"

#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

std::string refusal(const std::string& more_of_model, const std::string& more = "",
                    const std::string& vocab = R"({"a":0,"b":1})", const std::string& merges = "[]") {
  return message_of([&] { tokenizer_of(vocab, merges, more_of_model, more); });
}

}  // namespace

TEST_CASE("tokenizer_reader: what is not supported is refused by name") {
  const auto says = [](const std::string& message, const std::string& part) {
    INFO(part);
    CHECK_THAT(message, Contains("tokenizer.json") && Contains(part));
  };
  says(refusal(R"(, "dropout": 0.1)"), "\"model.dropout\" is not supported");
  says(refusal(R"(, "continuing_subword_prefix": "##")"), "continuing_subword_prefix");
  says(refusal(R"(, "end_of_word_suffix": "</w>")"), "end_of_word_suffix");
  says(refusal(R"(, "odd": 1)"), "\"model.odd\" is not known");
  says(refusal("", R"(, "odd": 1)"), "\"odd\" is not known");
  says(refusal("", R"(, "normalizer": {"type": "NFC"})"), "\"NFC\" is not supported");
  says(refusal("", R"(, "pre_tokenizer": {"type": "Whitespace"})"), "\"Whitespace\" is not supported");
  says(refusal("", R"(, "decoder": {"type": "WordPiece"})"), "\"WordPiece\" is not supported");
  says(refusal("", R"(, "post_processor": {"type": "BertProcessing"})"),
       "\"BertProcessing\" is not supported");
  says(
      refusal(
          "",
          R"(, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]})"),
      "\"ByteLevel\" must be the last");
  says(refusal(
           "",
           R"(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\w+"}, "behavior": "Isolated"})"),
       "\\w");
  says(refusal("", R"(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Odd"})"),
       "\"Odd\"");
  // Falcon's chain.
  says(
      refusal(
          "",
          R"(, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"},)"
          R"({"type": "ByteLevel", "add_prefix_space": false}, {"type": "Digits", "individual_digits": false},)"
          R"({"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false}]})"),
      "pretokenizers[0].type\" \"Punctuation\" is not supported");
  says(
      message_of([] {
        detail::TokenizerReader(
            parse_json(
                R"({"pre_tokenizer": {"type": "Metaspace"}, "model": {"type": "Unigram", "unk_id": 0, "vocab": []}})",
                "tokenizer.json"),
            "tokenizer.json")
            .read();
      }),
      "\"model.type\" \"Unigram\" is not supported; supported are BPE");
}

TEST_CASE("tokenizer_reader: what does not fit together is refused") {
  CHECK_THAT(refusal("", "", R"({"a":0,"b":0})"), Contains("the id 0 is both \"a\" and \"b\""));
  CHECK_THAT(refusal("", "", R"({"a":-1})"), Contains("expected an id from 0"));
  CHECK_THAT(refusal("", "", R"({"a":1.5})"), Contains("found 1.5"));
  CHECK_THAT(refusal("", "", R"({"a":99999999999})"), Contains("expected an id"));
  CHECK_THAT(refusal("", "", R"({"a":0,"a":1})"), Contains("occurs twice"));
  CHECK_THAT(refusal("", "", R"({"a":0,"b":1})", R"(["a b"])"),
             Contains("merges[0]") && Contains("\"ab\" is not in"));
  CHECK_THAT(refusal("", "", R"({"a":0,"b":1})", R"(["a c"])"), Contains("\"c\" is not in the vocabulary"));
  CHECK_THAT(refusal("", "", R"({"a":0,"b":1})", R"(["a"])"), Contains("expected \"a b\""));
  CHECK_THAT(refusal("", "", R"({"a":0,"b":1})", R"(["a b c"])"), Contains("expected \"a b\""));
  CHECK_THAT(refusal("", "", R"({"a":0,"b":1})", R"([["a","b","c"]])"), Contains("expected \"a b\""));
  CHECK_THAT(refusal("", "", R"({"a":0,"b":1})", "7"), Contains("\"model.merges\" must be a list"));
  CHECK_THAT(refusal(R"(, "unk_token": "?")"), Contains("\"?\" is not in the vocabulary"));
  CHECK_THAT(refusal("", R"(, "added_tokens": [{"id": 1, "content": "a"}])"), Contains("says 1 for \"a\""));
  CHECK_THAT(refusal("", R"(, "added_tokens": [{"id": 1, "content": "c"}])"),
             Contains("the id 1 is both \"b\" and \"c\""));
  CHECK_THAT(refusal("", R"(, "added_tokens": [7])"), Contains("added_tokens[0]"));
  CHECK_THAT(
      refusal("",
              R"(, "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}],
                       "special_tokens": {"x": {"ids": [5]}}})"),
      Contains("ids"));
}

TEST_CASE("tokenizer_reader: a hostile file cannot ask for all memory, or all of the stack") {
  const auto sequence = [](const std::string& kind, const std::string& list, const std::string& step,
                           int count) {
    std::string steps = step;
    for (int i = 1; i < count; ++i) steps += "," + step;
    return ", \"" + kind + "\": {\"type\": \"Sequence\", \"" + list + "\": [" + steps + "]}";
  };
  const std::string doubling = R"({"type":"Replace","pattern":{"String":"a"},"content":"aa"})";
  const Tokenizer grows =
      tokenizer_of(R"({"a":0})", "[]", "", sequence("normalizer", "normalizers", doubling, 60));
  CHECK_THAT(message_of([&] { encode(grows, "a"); }), Contains("more than 64 times as many"));
  const Tokenizer decodes =
      tokenizer_of(R"({"a":0})", "[]", "", sequence("decoder", "decoders", doubling, 60));
  CHECK_THAT(message_of([&] { decodes.decode(Ids{0}); }), Contains("more than 64 times as many"));
  CHECK_THAT(refusal("", sequence("pre_tokenizer", "pretokenizers", R"({"type":"Digits"})", 65)),
             Contains("65 steps, more than 64"));
  CHECK_THAT(refusal("", R"(, "pre_tokenizer": {"type":"Metaspace","replacement":"  "})"),
             Contains("one character, not a blank"));
}

TEST_CASE("tokenizer_reader: a hostile regular expression ends in an error, not in hours") {
  const std::string text(100'000, 'a');
  const std::string pattern = R"({"Regex": "(?:a|aa)+[bc]"})";
  const Tokenizer splits = tokenizer_of(
      R"({"a":0})", "[]", "",
      R"(, "pre_tokenizer": {"type": "Split", "behavior": "Isolated", "pattern": )" + pattern + "}");
  CHECK(encode(splits, "aaaa") == Ids{0, 0, 0, 0});
  CHECK_THAT(message_of([&] { encode(splits, text); }),
             Contains("(?:a|aa)+[bc]") && Contains("takes too much work on a text of 100000 bytes"));
  const Tokenizer replaces =
      tokenizer_of(R"({"a":0})", "[]", "",
                   R"(, "normalizer": {"type": "Replace", "content": "", "pattern": )" + pattern + "}");
  CHECK_THAT(message_of([&] { encode(replaces, text); }), Contains("takes too much work"));
  // What would be large when compiled.
  std::string classes, groups = "a";
  for (int i = 0; i < 100'000; ++i) classes += "\\\\P{L}";
  for (int i = 0; i < 5; ++i) groups = "(?:" + groups + "){1000}";
  for (const std::string& large : {classes, groups})
    CHECK_THAT(
        refusal("", R"(, "pre_tokenizer": {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": ")" +
                        large + R"("}})"),
        Contains("tokenizer.json") && Contains("too large"));
}

TEST_CASE("tokenizer_reader: a warning for what is passed over") {
  const Tokenizer tokenizer =
      tokenizer_of(R"({"a":0})", "[]", "", R"(, "truncation": {"max_length": 5}, "padding": null)");
  REQUIRE(tokenizer.warnings.size() == 1);
  CHECK_THAT(tokenizer.warnings[0], Contains("\"truncation\" is not applied"));
}
