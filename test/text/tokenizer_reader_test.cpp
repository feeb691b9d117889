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
  says(refusal("", R"(, "normalizer": {"type": "Nmt"})"), "\"Nmt\" is not supported");
  says(refusal("", R"(, "normalizer": {"type": "Strip"})"), "strip_left");
  says(refusal("", R"(, "pre_tokenizer": {"type": "UnicodeScripts"})"),
       "\"UnicodeScripts\" is not supported");
  says(refusal("", R"(, "pre_tokenizer": {"type": "CharDelimiterSplit", "delimiter": "ab"})"),
       "one character");
  says(refusal("", R"(, "pre_tokenizer": {"type": "FixedLength", "length": 0})"), "length");
  for (const char* const content : {"", "ab"})
    says(refusal("", std::string(R"(, "decoder": {"type": "Strip", "content": ")") + content + R"("})"),
         "one character");
  says(refusal("", R"(, "decoder": {"type": "WordPiece"})"), "\"WordPiece\" is not supported");
  says(refusal("", R"(, "post_processor": {"type": "BertProcessing", "sep": ["b", 1], "cls": ["x", 2]})"),
       "a token and its id");
  says(refusal("", R"(, "post_processor": {"type": "RobertaProcessing", "sep": ["b", 1]})"), "cls");
  const std::string no_tokens =
      R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}], "special_tokens": {}})";
  says(refusal("", R"(, "post_processor": {"type": "Sequence", "processors": [)" + no_tokens + "," +
                       no_tokens + "]}"),
       "a template must be the last");
  says(refusal(
           "",
           R"(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\X+"}, "behavior": "Isolated"})"),
       "\\X");
  says(refusal("", R"(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Odd"})"),
       "\"Odd\"");
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
  CHECK_THAT(
      refusal("", R"(, "normalizer": {"type": "Lowercase"}, "added_tokens": [{"id": 2, "content": "X"},)"
                  R"({"id": 3, "content": "x"}])"),
      Contains("\"X\" and \"x\" are both \"x\""));
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

// As `tokenizers` gives them: what the vocabulary has keeps its id, the others come behind its size in their
// order.
TEST_CASE("tokenizer_reader: the ids of added tokens are not those of the file") {
  const auto with = [](const std::string& added, const std::string& vocab = R"({"a":0,"b":1})") {
    return tokenizer_of(vocab, "[]", "", R"(, "added_tokens": [)" + added + "]");
  };
  const Tokenizer gap = with(R"({"id":7,"content":"<gap>"},{"id":9,"content":"<gap2>"})");
  CHECK(encode(gap, "a<gap>b<gap2>") == Ids{0, 2, 1, 3});
  CHECK(gap.vocab_size() == 4);
  REQUIRE(gap.warnings.size() == 1);
  CHECK_THAT(gap.warnings[0],
             Contains("tokenizer.json: \"added_tokens[0].id\" says 7 for \"<gap>\", which is 2") &&
                 Contains("(and 1 more)"));
  CHECK(encode(with(R"({"id":3,"content":"<B>"},{"id":2,"content":"<A>"})"), "<A><B>") == Ids{3, 2});
  const Tokenizer repeated = with(
      R"({"id":2,"content":"<A>","special":true},{"id":3,"content":"<A>","lstrip":true},{"id":4,"content":"<C>"})");
  CHECK(encode(repeated, "a <A>b<C>") == Ids{0, 2, 1, 3});  // the last flags count
  CHECK(repeated.decode(Ids{0, 2, 1, 3}) == "a b <C>");     // but special once is special
  CHECK(encode(with(R"({"id":1,"content":"a"})"), "a") == Ids{0});
  CHECK(with(R"({"id":0,"content":"a"},{"id":2,"content":"c"})").warnings.empty());
  const Tokenizer holes = with(R"({"id":9,"content":"x"},{"id":4,"content":"y"})", R"({"a":0,"b":3})");
  CHECK(encode(holes, "axby") == Ids{0, 2, 3, 3});  // the size is 2, and 3 is b's too
  CHECK(holes.decode(Ids{0, 2, 3}) == "a x y");
  const Tokenizer empty = with(R"({"id":0,"content":""},{"id":2,"content":"y"})");
  CHECK(encode(empty, "aby") == Ids{0, 1, 2});
  // A special token that decoding spells otherwise is not left out.
  const Tokenizer lower = tokenizer_of(
      R"({"a":0,"b":1})", "[]", "",
      R"(, "normalizer": {"type": "Lowercase"}, "added_tokens": [{"id":2,"content":"X","special":true}])");
  CHECK(lower.decode(encode(lower, "AXb")) == "a x b");
}

TEST_CASE("tokenizer_reader: several post-processors add tokens one around the other") {
  const std::string roberta =
      R"({"type":"RobertaProcessing","sep":["b",1],"cls":["a",0],"trim_offsets":true})";
  const std::string bert = R"({"type":"BertProcessing","sep":["d",3],"cls":["c",2]})";
  const std::string last =
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"e"}},{"Sequence":{"id":"A"}}],)"
      R"("special_tokens":{"e":{"ids":[4,4]}}})";
  const auto with = [](const std::string& steps) {
    return encode(tokenizer_of(R"({"a":0,"b":1,"c":2,"d":3,"e":4})", "[]", "",
                               R"(, "post_processor": {"type":"Sequence","processors":[)" + steps + "]}"),
                  "a");
  };
  CHECK(with(roberta) == Ids{0, 0, 1});
  CHECK(with(roberta + "," + bert) == Ids{2, 0, 0, 1, 3});
  CHECK(with(bert + "," + last) == Ids{4, 4, 2, 0, 3});
}
