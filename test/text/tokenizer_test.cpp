#include "midus/text/tokenizer.hpp"

#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

TEST_CASE("tokenizer: pieces that are tokens, and merges", "[TK-01]") {
  const std::string vocab = R"({"a":0,"b":1,"c":2,"ab":3,"bc":4,"abc":5})", merges = R"(["b c","a b"])";
  CHECK(encode(tokenizer_of(vocab, merges, R"(, "ignore_merges": false)"), "abc") == Ids{0, 4});
  CHECK(encode(tokenizer_of(vocab, merges, R"(, "ignore_merges": true)"), "abc") == Ids{5});
  CHECK(encode(tokenizer_of(vocab, merges), "abc") == Ids{0, 4});
  for (const char* const ignore : {"", R"(, "ignore_merges": false)", R"(, "ignore_merges": true)"})
    CHECK(encode(tokenizer_of(vocab, merges, ignore), "abcabc") == Ids{0, 4, 0, 4});
  CHECK(encode(tokenizer_of(vocab, R"([["b","c"],["a","b"]])"), "abc") == Ids{0, 4});
  CHECK(encode(tokenizer_of(R"({"a":0,"aa":1})", R"(["a a"])"), "aaaaa") == Ids{1, 1, 0});
}

TEST_CASE("tokenizer: added tokens, leftmost and longest", "[TK-06]") {
  std::string vocab = "{";
  for (const char c : std::string("0123456789")) vocab += std::string("\"") + c + "\":" + c + ",";
  vocab += R"("a":10,"b":11,"c":12,"<":13,">":14})";
  const auto added = [](const std::string& tokens) { return R"(, "added_tokens": [)" + tokens + "]"; };
  const Tokenizer numbers = tokenizer_of(
      vocab, "[]", "",
      added(R"({"id":15,"content":"13","normalized":false},{"id":16,"content":"314","normalized":false},)"
            R"({"id":17,"content":"1415","normalized":false})"));
  CHECK(encode(numbers, "1314151") == Ids{15, 17, 1});
  CHECK(encode(numbers, "31415") == Ids{16, 1, 5});
  CHECK(encode(numbers, "3141") == Ids{16, 1});
  const Tokenizer nested = tokenizer_of(
      vocab, "[]", "", added(R"({"id":15,"content":"<a>"},{"id":16,"content":"<a>b","normalized":true})"));
  CHECK(encode(nested, "<a>bc<a>") == Ids{16, 12, 15});
}

TEST_CASE("tokenizer: added tokens that begin alike, and end alike, in a long text") {
  const std::string a(3000, 'a');
  const Tokenizer tokenizer =
      tokenizer_of(R"({"a":0,"b":1,"c":2})", "[]", "",
                   R"(, "added_tokens": [{"id":3,"content":")" + a +
                       R"(b"},{"id":4,"content":"abc"},{"id":5,"content":"bc"},{"id":6,"content":"caa"},)"
                       R"({"id":7,"content":"ca"}])");
  CHECK(encode(tokenizer, "aabcaabcaba") == Ids{0, 4, 0, 4, 0, 1, 0});
  CHECK(encode(tokenizer, "bbccaacab") == Ids{1, 5, 6, 7, 1});
  CHECK(encode(tokenizer, a + "bcab") == Ids{3, 7, 1});
  const Ids ids = encode(tokenizer, a + std::string(100'000, 'a') + "b");  // not 3000 times as long
  CHECK(ids.size() == 100'001);
  CHECK(ids.back() == 3);
}

TEST_CASE("tokenizer: an unknown token goes behind the bytes that follow it, as in `tokenizers`") {
  const std::string vocab = R"({"<unk>":0,"a":1,"<0xC3>":2,"<0xA9>":3})";
  const std::string unk = R"(, "byte_fallback": true, "unk_token": "<unk>")";
  const Tokenizer each = tokenizer_of(vocab, "[]", unk),
                  fused = tokenizer_of(vocab, "[]", unk + R"(, "fuse_unk": true)");
  CHECK(encode(each, "☃éa") == Ids{2, 3, 0, 1});
  CHECK(encode(each, "☃é☃a") == Ids{2, 3, 0, 0, 1});
  CHECK(encode(fused, "☃é☃a") == Ids{2, 3, 0, 1});
  CHECK(encode(fused, "a☃☃é") == Ids{1, 2, 3, 0});
  CHECK(encode(each, "☃☃") == Ids{0, 0});
  CHECK(encode(fused, "☃a☃") == Ids{0, 1, 0});
}

TEST_CASE("tokenizer: in a byte-level vocabulary, bytes stand for the character of a byte") {
  const Tokenizer tokenizer =
      tokenizer_of(R"({"Ã":0,"<0xC2>":1,"<0xA9>":2,"<0xC4>":3,"<0xA0>":4,"<unk>":5})", "[]",
                   R"(, "byte_fallback": true, "unk_token": "<unk>")",
                   R"(, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false})");
  CHECK(encode(tokenizer, "é") == Ids{0, 1, 2});  // 0xA9 is ©, C2 A9
  CHECK(encode(tokenizer, " é") == Ids{3, 4, 0, 1, 2});
  CHECK(encode(tokenizer, "x ") == Ids{5, 3, 4});  // two pieces
}

TEST_CASE("tokenizer: the flags of added tokens") {
  const std::string vocab = R"({"a":0," ":1,"b":2})";
  const auto with = [&](const std::string& flags) {
    return tokenizer_of(vocab, "[]", "", R"(, "added_tokens": [{"id":3,"content":"X")" + flags + "}]");
  };
  CHECK(encode(with(""), "a X b") == Ids{0, 1, 3, 1, 2});
  CHECK(encode(with(R"(, "lstrip": true)"), "a  X b") == Ids{0, 3, 1, 2});
  CHECK(encode(with(R"(, "rstrip": true)"), "a X  b") == Ids{0, 1, 3, 2});
  const Tokenizer blanks = tokenizer_of(
      vocab, "[]", "", R"(, "added_tokens": [{"id":3,"content":" ","lstrip":true,"rstrip":true}])");
  CHECK(encode(blanks, "a   b ") == Ids{0, 1, 2, 1});  // the vocabulary has the blank
  CHECK(encode(with(R"(, "single_word": true)"), "X a") == Ids{3, 1, 0});
  CHECK_THAT(message_of([&] { encode(with(R"(, "single_word": true)"), "aX"); }),
             Contains("no token for \"X\""));
  const Tokenizer special = with(R"(, "special": true)");
  CHECK(special.decode(Ids{0, 3, 2}) == "a b");
  CHECK(special.decode(Ids{0, 3, 2}, false) == "a X b");
  CHECK(special.id_of("X") == 3);
  CHECK(special.id_of("Y") == std::nullopt);
}

TEST_CASE("tokenizer: bytes as tokens, and decoding as they come", "[TK-10]") {
  const Tokenizer bytes = byte_tokenizer();
  for (const std::string text : {"🦙x", "삼겹살", "🦙🦙", "a\xcc\x81 é"}) {
    const Ids ids = encode(bytes, text);
    REQUIRE(ids.size() == text.size());
    CHECK(bytes.decode(ids) == text);
    TextStream stream(bytes);
    std::string all;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::string part = stream.push(ids[i]);
      CHECK(is_utf8(part));
      all += part;
      const std::size_t whole = i + 1 - unfinished_bytes(std::string_view(text).substr(0, i + 1));
      CHECK(all == text.substr(0, whole));  // all that is complete, at once
    }
    CHECK(all + stream.finish() == text);
  }
  // What is no UTF-8 comes out the same, at once or token by token.
  const Ids broken{0xF0, 0x9F, 'a', 0xFF, 0xE2, 0x82, 0xE2, 0x82, 0xAC, 0xC3};
  TextStream stream(bytes);
  std::string all;
  for (const std::int32_t id : broken) all += stream.push(id);
  CHECK(all + stream.finish() == bytes.decode(broken));
}

TEST_CASE("tokenizer: a text comes out as its characters are complete, however tokens cut it", "[TK-10]") {
  for (const std::string text : {"🦙x", "삼겹살", "🦙🦙"}) {
    // Every part of the text is a token; the bits of `cuts` say where tokens end.
    Json vocab = parse_json(byte_vocabulary(), "vocab");
    for (std::size_t begin = 0; begin < text.size(); ++begin)
      for (std::size_t length = 1; length <= text.size() - begin; ++length)
        vocab.emplace(to_byte_characters(text.substr(begin, length)), vocab.size());
    const Tokenizer tokenizer =
        byte_tokenizer(R"({"type": "ByteLevel", "add_prefix_space": false})", vocab.dump());
    for (unsigned cuts = 0; cuts < 1u << (text.size() - 1); ++cuts) {
      Ids ids;
      std::string all;
      TextStream stream(tokenizer);
      for (std::size_t begin = 0, end = 1; end <= text.size(); ++end) {
        if (end < text.size() && (cuts >> (end - 1) & 1u) == 0) continue;
        const std::string token = to_byte_characters(text.substr(begin, end - begin));
        ids.push_back(vocab.at(token).get<std::int32_t>());
        begin = end;
        all += stream.push(ids.back());
        const std::size_t whole = end - unfinished_bytes(std::string_view(text).substr(0, end));
        REQUIRE(all == text.substr(0, whole));
      }
      REQUIRE(all + stream.finish() == text);
      REQUIRE(tokenizer.decode(ids) == text);
    }
  }
}

TEST_CASE("tokenizer: Llama-2's way, with blanks as characters and bytes where there is no token") {
  std::string vocab = R"({"<unk>":0,"<s>":1,"▁":2,"a":3,"b":4,"▁a":5)";
  for (int byte = 0; byte < 256; ++byte) {
    char name[16];
    std::snprintf(name, sizeof name, ",\"<0x%02X>\":%d", static_cast<unsigned>(byte), 6 + byte);
    vocab += name;
  }
  const Tokenizer llama = tokenizer_of(
      vocab + "}", R"(["▁ a"])", R"(, "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>")",
      R"(, "normalizer": {"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
      R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]}, "decoder": {"type":"Sequence","decoders":[)"
      R"({"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},)"
      R"({"type":"Strip","content":" ","start":1,"stop":0}]}, "post_processor": {"type":"TemplateProcessing",)"
      R"("single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],)"
      R"("special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}}, "added_tokens":[)"
      R"({"id":1,"content":"<s>","special":true,"normalized":false}])");
  CHECK(encode(llama, "a b") == Ids{1, 5, 2, 4});
  CHECK(encode(llama, "a b", false) == Ids{5, 2, 4});
  CHECK(encode(llama, "é") == Ids{1, 2, 6 + 0xC3, 6 + 0xA9});
  CHECK(encode(llama, "") == Ids{1});
  for (const std::string text : {"a b", "é a", " a", "🦙"}) {
    const Ids ids = encode(llama, text);
    CHECK(llama.decode(ids) == text);
    TextStream stream(llama);
    std::string all;
    for (const std::int32_t id : ids) {
      const std::string part = stream.push(id);
      CHECK(is_utf8(part));
      all += part;
    }
    CHECK(all + stream.finish() == text);
  }
  CHECK(llama.decode(Ids{6 + 0xC3, 3}) ==
        "\xef\xbf\xbd"
        "a");
}

TEST_CASE("tokenizer: special tokens that a text spells itself are not put around it again") {
  const Tokenizer tokenizer = byte_tokenizer(
      R"({"type": "ByteLevel", "add_prefix_space": false}, "added_tokens": [{"id": 256, "content": "<s>", "special": true},)"
      R"({"id": 257, "content": "</s>", "special": true}], "post_processor": {"type": "TemplateProcessing", "single": )"
      R"([{"SpecialToken": {"id": "B"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "E"}}], )"
      R"("special_tokens": {"B": {"ids": [256]}, "E": {"ids": [257]}}})");
  TextEncoder encode(tokenizer);
  CHECK(encode.document("ef") == Ids{256, 'e', 'f', 257});
  CHECK(encode.document("<s>ef") == Ids{256, 'e', 'f', 257});
  CHECK(encode.document("<s><s>e") == Ids{256, 256, 'e', 257});
  CHECK(encode.document("e</s>") == Ids{256, 'e', 257});
  CHECK(encode.document("e<s>f</s> ") == Ids{256, 'e', 256, 'f', 257, ' ', 257});
  CHECK(encode.document("") == Ids{256, 257});
  CHECK(encode("<s>e") == Ids{256, 256, 'e', 257});  // as `tokenizers` does
  const std::string filler(2000, 'x');
  CHECK(encode.document("<s>" + filler + "é</s>").size() == 2004);
}
