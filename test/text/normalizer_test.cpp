#include "midus/text/normalizer.hpp"

#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("normalizer: normal forms") {
  const auto all = [](std::string_view text) {
    return std::vector<std::string>{normal_form(text, NormalForm::nfc), normal_form(text, NormalForm::nfd),
                                    normal_form(text, NormalForm::nfkc), normal_form(text, NormalForm::nfkd)};
  };
  using List = std::vector<std::string>;
  CHECK(all("") == List{"", "", "", ""});
  CHECK(all("a b\n") == List{"a b\n", "a b\n", "a b\n", "a b\n"});
  CHECK(all("e\u0301te\u0301") == List{"été", "e\u0301te\u0301", "été", "e\u0301te\u0301"});
  CHECK(all("ﬁ²①") == List{"ﬁ²①", "ﬁ²①", "fi21", "fi21"});
  const std::string syllable = "\uAC01", parts = "\u1100\u1161\u11A8";
  CHECK(all(syllable) == List{syllable, parts, syllable, parts});
  CHECK(all(parts) == List{syllable, parts, syllable, parts});
  CHECK(all("\uAC00\u11A8") == List{syllable, parts, syllable, parts});
  CHECK(all("a\u0302\u0323x") == List{"ậx", "a\u0323\u0302x", "ậx", "a\u0323\u0302x"});  // marks by class
  CHECK(all("ḍ\u0307\u0323") ==
        List{"ḍ\u0323\u0307", "d\u0323\u0323\u0307", "ḍ\u0323\u0307", "d\u0323\u0323\u0307"});
  CHECK(all("\u212B\u0958") ==
        List{"Å\u0915\u093C", "A\u030A\u0915\u093C", "Å\u0915\u093C", "A\u030A\u0915\u093C"});
  CHECK(all("\u0301") == List{"\u0301", "\u0301", "\u0301", "\u0301"});
  CHECK(all("ﷺ")[2] == "صلى الله عليه وسلم");
  CHECK(normal_form(std::string(100, 'a') + "e\u0301" + std::string(100, 'b'), NormalForm::nfc) ==
        std::string(100, 'a') + "é" + std::string(100, 'b'));
}

TEST_CASE("normalizer: many marks on one letter take no more than their sorting") {
  std::string marks = "a";
  for (int i = 0; i < 20000; ++i) marks += i % 2 ? "\u0302" : "\u0323";
  CHECK(normal_form(marks, NormalForm::nfc).starts_with("ậ\u0323\u0323"));
}

TEST_CASE("normalizer: small letters, accents and white space") {
  CHECK(lower_case("ÀB İΣς Ǆ\u1E9EĀa") == "àb i\u0307σς ǆßāa");
  CHECK(StripAccentsText()("e\u0301é\u0903") == "eé");
  CHECK(StripText{true, true}("\u00A0 a b\n") == "a b");
  CHECK(StripText{true, false}(" a ") == "a ");
  CHECK(StripText{false, true}(" a ") == " a");
  CHECK(StripText{false, true}("  ").empty());
  CHECK(StripText{false, false}(" ") == " ");
}

TEST_CASE("normalizer: a tokenizer's texts and added tokens are normalised") {
  const auto with = [](const std::string& normalizer) {
    return tokenizer_of(
        R"({"a":0,"e":1,"é":2,"\u0301":3," ":4,"Ġ":5})", "[]", "",
        R"(, "normalizer": )" + normalizer + R"(, "added_tokens": [{"id":6,"content":"E\u0301"}])");
  };
  CHECK(encode(with(R"({"type":"NFC"})"), "ae\u0301É a") == Ids{0, 2, 6, 4, 0});
  CHECK(encode(with(R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"}]})"), "É") ==
        Ids{6});
  CHECK(encode(with(R"({"type":"NFD"})"), "é") == Ids{1, 3});
  CHECK(encode(with(R"({"type":"Strip","strip_left":true,"strip_right":true})"), " a ") == Ids{0});
  CHECK(encode(with(R"({"type":"StripAccents"})"), "e\u0301") == Ids{1});
  CHECK(encode(with(R"({"type":"ByteLevel"})"), " a") == Ids{5, 0});
}
