#include "midus/text/bpe_trainer.hpp"

#include <ctime>

#include "midus/core/random.hpp"
#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

Tokenizer read(const Json& json) { return detail::TokenizerReader(json, "tokenizer.json").read(); }

}  // namespace

TEST_CASE("bpe_trainer: the most frequent pair first, of equal ones the lower ids") {
  BpeTrainer trainer({.vocab_size = 256 + 4, .special_tokens = {}});
  trainer.add("aab aab aab xy xy");  // pieces: "aab", " aab" twice, " xy" twice
  const Json json = trainer.train();
  const auto merges = json["model"]["merges"].get<std::vector<std::vector<std::string>>>();
  // aa: 3, ab: 3, Ġa: 2, ... then aa b: 3, then Ġ aab: 2 beside Ġ x: 2, x y: 2.
  CHECK(merges == std::vector<std::vector<std::string>>{{"a", "a"}, {"aa", "b"}, {"x", "y"}, {"Ġ", "aab"}});
  const Tokenizer tokenizer = read(json);
  CHECK(tokenizer.vocab_size() == 260);
  CHECK(encode(tokenizer, "aab xy").size() == 3);
  CHECK(tokenizer.decode(encode(tokenizer, "aab, xyz é \n")) == "aab, xyz é \n");
}

TEST_CASE("bpe_trainer: stops where nothing is frequent enough, special tokens come first") {
  BpeTrainer trainer({.vocab_size = 1000, .special_tokens = {"<|endoftext|>", "<pad>"}, .min_frequency = 2});
  trainer.add("one two three four");
  const Tokenizer tokenizer = read(trainer.train());
  CHECK(tokenizer.vocab_size() < 270);
  CHECK(tokenizer.id_of("<|endoftext|>") == 0);
  CHECK(tokenizer.id_of("<pad>") == 1);
  CHECK(encode(tokenizer, "a<pad>b").at(1) == 1);
  CHECK_THROWS_WITH(BpeTrainer({.vocab_size = 256}), Contains("must have from 257"));
  CHECK_THROWS_WITH(BpeTrainer({.special_tokens = {"a b", ""}}), Contains("a special token is empty"));
  CHECK_THROWS_WITH(BpeTrainer({.special_tokens = {"<a>", "<b>", "<a>"}}),
                    Contains("\"<a>\" is given twice"));
  for (const char* const spelling : {"A", "Ġ", "§"})
    CHECK_THROWS_WITH(BpeTrainer({.special_tokens = {spelling}}), Contains("how a byte is spelled"));
  CHECK_NOTHROW(BpeTrainer({.special_tokens = {"AB", "Ω", "鯨"}}));
}

TEST_CASE("bpe_trainer: runs of one character, and tokens that two merges give") {
  BpeTrainer trainer({.vocab_size = 300, .special_tokens = {}});
  trainer.add(std::string(50, 'a') + " " + std::string(50, 'a') + "b ab aab abab bababab");
  const Json json = trainer.train();  // a vocabulary without a key twice, or the reader refuses it
  const Tokenizer tokenizer = read(parse_json(dump_json(json), "tokenizer.json"));
  for (const std::string text : {"aaaaaaa", "ab", "bababa", "aaab aab"})
    CHECK(tokenizer.decode(encode(tokenizer, text)) == text);
}

TEST_CASE("bpe_trainer: one long word takes time for what changes, not for all of it at each merge") {
  const Random random(1, "letters");
  std::string word;
  for (Index i = 0; i < 100'000; ++i) word += "ACGT"[random.below(i, 4)];
  const std::clock_t begin = std::clock();
  BpeTrainer trainer({.vocab_size = 256 + 400, .special_tokens = {}});
  trainer.add(word);
  const Json json = trainer.train();
  CHECK(json["model"]["merges"].size() == 400);
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 10);
}
