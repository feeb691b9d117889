#include "midus/text/scoring.hpp"

#include <cmath>
#include <numeric>

#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;

namespace {

/// Inputs and targets of each window.
std::vector<std::pair<Ids, Ids>> windows(Index count, Index most, Index context) {
  Ids tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 10);
  std::vector<std::pair<Ids, Ids>> out;
  for (const ScoringRequest& window : rolling_windows(tokens, 1, most, context))
    out.push_back({Ids(window.ids.begin(), window.ids.end() - 1),
                   Ids(window.ids.end() - window.scored, window.ids.end())});
  return out;
}

using Windows = std::vector<std::pair<Ids, Ids>>;

}  // namespace

TEST_CASE("scoring: windows roll so that every token is predicted once", "[EV-02]") {
  CHECK(windows(10, 4, 1) == Windows{{{1, 10, 11, 12}, {10, 11, 12, 13}},
                                     {{13, 14, 15, 16}, {14, 15, 16, 17}},
                                     {{15, 16, 17, 18}, {18, 19}}});
  CHECK(windows(10, 4, 3) == Windows{{{1, 10, 11, 12}, {10, 11, 12, 13}},
                                     {{11, 12, 13, 14}, {14, 15}},
                                     {{13, 14, 15, 16}, {16, 17}},
                                     {{15, 16, 17, 18}, {18, 19}}});
  CHECK(windows(3, 4, 1) == Windows{{{1, 10, 11}, {10, 11, 12}}});
  CHECK(windows(0, 4, 1).empty());
  CHECK(windows(5, 1, 1).size() == 5);
  CHECK_THROWS_WITH(rolling_windows(Ids{1}, 0, 4, 5), Catch::Contains("context"));
}

TEST_CASE("scoring: white space at the end of a context belongs to the continuation", "[EV-06]") {
  const auto moved = [](const char* context, const char* continuation) {
    return move_trailing_space(context, continuation);
  };
  using Pair = std::pair<std::string, std::string>;
  CHECK(moved("Answer:", " yes") == Pair{"Answer:", " yes"});
  CHECK(moved("Answer: ", "yes") == Pair{"Answer:", " yes"});
  CHECK(moved("Answer:  ", "yes") == Pair{"Answer:", "  yes"});
  CHECK(moved("Answer:\n", "yes") == Pair{"Answer:", "\nyes"});
  CHECK(moved("Answer:\u3000\x1f", "yes") == Pair{"Answer:", "\u3000\x1fyes"});
  CHECK(moved("  ", "yes") == Pair{"", "  yes"});
  const std::vector<std::string> choices{"yes", "no"};
  CHECK(choose(std::vector<double>{-3.3, -2.4}, choices).best == 1);
  CHECK(choose(std::vector<double>{-3.3, -2.4}, choices).best_per_character == 0);
  CHECK_THROWS_WITH(choose(std::vector<double>{-3.3, -2.4}, std::vector<std::string>{"yes", ""}),
                    Catch::Contains("choice 1 is empty"));
}

TEST_CASE("scoring: requests are cut on the left, and an empty context is the prefix token") {
  const Tokenizer bytes = tokenizer_of(byte_vocabulary(), "[]", "",
                                       R"(, "pre_tokenizer": {"type":"ByteLevel","add_prefix_space":false})");
  ScoringEncoder encode(bytes, 7);
  const ScoringRequest whole = continuation_request(encode, "ab ", "cd", 100);
  CHECK(whole.ids == Ids{'a', 'b', ' ', 'c', 'd'});
  CHECK(whole.scored == 3);
  CHECK(whole.cut == 0);
  CHECK(continuation_request(encode, "ab ", "cd", 3).ids == Ids{'b', ' ', 'c', 'd'});
  CHECK(continuation_request(encode, "ab ", "cd", 3).cut == 1);
  CHECK(continuation_request(encode, "", "cd", 100).ids == Ids{7, 'c', 'd'});
  CHECK(continuation_request(encode, "", "cd", 100).scored == 2);
  CHECK(continuation_request(encode, "", "\acd", 100).ids ==
        Ids{7, 'c', 'd'});  // its first token is the prefix
  CHECK(continuation_request(encode, "", "\acd", 100).scored == 2);
  CHECK(continuation_request(encode, "  ", "c", 100).ids == Ids{7, ' ', ' ', 'c'});
  CHECK(continuation_request(encode, "  ", "c", 100).scored == 3);
  CHECK_THROWS_WITH(continuation_request(encode, "a", "bcde", 3),
                    Catch::Contains("has 4 tokens, and the model reads 3 at most"));
}

TEST_CASE("scoring: a token across the border of context and continuation", "[EV-06]") {
  const Tokenizer merging =
      tokenizer_of(R"({"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4})", R"(["a b", "ab c"])");
  ScoringEncoder encode(merging, 2);
  // "abc" is one token and "ab" alone is one: nothing is left to score, and that would win.
  CHECK_THROWS_WITH(continuation_request(encode, "ab", "c", 100), Catch::Contains("no token of its own"));
  CHECK_THROWS_WITH(continuation_request(encode, "", "", 100), Catch::Contains("no token of its own"));
  CHECK(continuation_request(encode, "ca", "bcc", 100).ids ==
        Ids{2, 0, 2});  // c abc c, of which c a are the context's
  CHECK(continuation_request(encode, "ca", "bcc", 100).scored == 1);
}

TEST_CASE("scoring: special tokens are there once, and only where they are wanted", "[EV-04]") {
  const Tokenizer llama = tokenizer_of(byte_vocabulary(), "[]", "", R"(,
    "added_tokens": [{"id": 256, "content": "<s>", "special": true, "normalized": false, "single_word": false,
                      "lstrip": false, "rstrip": false}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "decoder": {"type": "ByteLevel"},
    "post_processor": {"type": "TemplateProcessing", "pair": [],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [256], "tokens": ["<s>"]}},
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]})");
  ScoringEncoder encode(llama, 256), bare(llama, 256, false);
  CHECK(encode("ab") == Ids{256, 'a', 'b'});
  CHECK(encode("<s>ab") == Ids{256, 'a', 'b'});
  CHECK(bare("ab") == Ids{'a', 'b'});
  ScoringEncoder padded(llama, 300);  // of a model with more tokens than the tokenizer spells
  CHECK(padded("ab") == Ids{256, 'a', 'b'});
  const ScoringRequest request = continuation_request(encode, "a", "bc", 100);
  CHECK(request.ids == Ids{256, 'a', 'b', 'c'});
  CHECK(request.scored == 2);
  CHECK(continuation_request(encode, "", "bc", 100).ids == Ids{256, 'b', 'c'});
  CHECK(continuation_request(bare, "a", "bc", 100).ids == Ids{'a', 'b', 'c'});
  // A text's own first token is predicted from the prefix token, as the harness does it.
  CHECK(rolling_windows(encode("a"), 256, 100)[0].ids == Ids{256, 256, 'a'});
}

TEST_CASE("scoring: a mean over texts weighs each by what was counted in it", "[EV-08]") {
  // 4, 4 and 2 tokens of 1, 1 and 4 nats each: not the mean of the three means, which would be e² = 7.39.
  const MeanWithError mean = ratio_with_error(std::vector<double>{4, 4, 8}, std::vector<double>{4, 4, 2});
  CHECK(std::exp(mean.mean) == Approx(4.9530).epsilon(1e-4));
  // Deviations -2.4, -2.4, 4.8, of which the root of 3/2 of their squares' sum, over 10.
  CHECK(mean.error == Approx(std::sqrt(1.5 * (2 * 2.4 * 2.4 + 4.8 * 4.8)) / 10));
  CHECK(std::isnan(ratio_with_error(std::vector<double>{3}, std::vector<double>{2}).error));
}

TEST_CASE("scoring: words, characters, and errors of means are Python's") {
  CHECK(words_in("a b  c") == 3);
  CHECK(words_in(" a b\n") == 4);  // "", "a", "b", ""
  CHECK(words_in("") == 1);
  CHECK(characters_in("aé🦙") == 3);
  const MeanWithError mean = mean_with_error(std::vector<double>{1, 0, 1, 1});
  CHECK(mean.mean == 0.75);
  CHECK(mean.error == Approx(0.25));
  CHECK(std::isnan(mean_with_error(std::vector<double>{3}).error));
}
