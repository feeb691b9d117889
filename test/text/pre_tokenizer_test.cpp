#include "midus/text/pre_tokenizer.hpp"

#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;

using List = std::vector<std::string>;

TEST_CASE("pre_tokenizer: white space in Llama-3's expression", "[TK-03]") {
  const Tokenizer tokenizer = byte_tokenizer(
      R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": )" +
      Json(llama3_pattern).dump() +
      R"(}, "behavior": "Isolated", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})");
  const std::vector<PreTokenizerStep>& steps = tokenizer.pre_tokenizer;
  CHECK(pieces(steps, " \n\n  x") == List{" \n\n", " ", " x"});
  CHECK(pieces(steps, "a\n\n\n\nb") == List{"a", "\n\n\n\n", "b"});
  CHECK(pieces(steps, "1234567") == List{"123", "456", "7"});
  CHECK(pieces(steps, "I'M") == List{"I", "'M"});
  CHECK(pieces(steps, "  ") == List{"  "});
  CHECK(pieces(steps, "x   ") == List{"x", "   "});
  CHECK(pieces(steps, "\r\n\r\n") == List{"\r\n\r\n"});
  CHECK(pieces(steps, "!!\n\n") == List{"!!\n\n"});
  CHECK(pieces(steps, "\t\tif") == List{"\t", "\tif"});
  CHECK(pieces(steps, "").empty());
}

TEST_CASE("pre_tokenizer: digits, and sequences of steps", "[TK-08]") {
  const Tokenizer tokenizer = byte_tokenizer(
      R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},)"
      R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]})");
  const std::vector<PreTokenizerStep>& steps = tokenizer.pre_tokenizer;
  CHECK(pieces(steps, " 2024!") == List{" ", "2", "0", "2", "4", "!"});
  CHECK(pieces(steps, "a1b") == List{"a", "1", "b"});
  CHECK(pieces(steps, "½²Ⅷ") == List{"½", "²", "Ⅷ"});
  CHECK(pieces(steps, "٣4") == List{"٣", "4"});
  CHECK(pieces(steps, "x  3") == List{"x", "  ", "3"});
  CHECK(pieces({DigitsStep{false}}, "ab12c3") == List{"ab", "12", "c", "3"});
}

TEST_CASE("pre_tokenizer: what becomes of matches") {
  const auto with = [](SplitBehavior behavior, bool invert = false) {
    return pieces({SplitStep{.pattern = Regex("-"), .behavior = behavior, .invert = invert}}, "-a--b-");
  };
  // As `tokenizers` has it in its documentation's example, "the-final--countdown", and run on this text.
  CHECK(with(SplitBehavior::removed) == List{"a", "b"});
  CHECK(with(SplitBehavior::isolated) == List{"-", "a", "-", "-", "b", "-"});
  CHECK(with(SplitBehavior::merged_with_previous) == List{"-", "a-", "-", "b-"});
  CHECK(with(SplitBehavior::merged_with_next) == List{"-a", "-", "-b", "-"});
  CHECK(with(SplitBehavior::contiguous) == List{"-", "a", "--", "b", "-"});
  CHECK(with(SplitBehavior::removed, true) == List{"-", "-", "-", "-"});
}

TEST_CASE("pre_tokenizer: blanks put before, and blanks replaced") {
  CHECK(pieces({PrefixSpaceStep()}, "a b") == List{" a b"});
  CHECK(pieces({PrefixSpaceStep()}, " a") == List{" a"});
  const auto metaspace = [](std::string_view text, MetaspaceStep::Prepend prepend, bool split) {
    return pieces({MetaspaceStep{.prepend = prepend, .split = split}}, text);
  };
  using Prepend = MetaspaceStep::Prepend;
  CHECK(metaspace("a  b", Prepend::always, true) == List{"▁a", "▁", "▁b"});
  CHECK(metaspace("a  b", Prepend::never, false) == List{"a▁▁b"});
  CHECK(metaspace(" a", Prepend::first, false) == List{"▁a"});
  CHECK(metaspace("", Prepend::always, true).empty());
}

TEST_CASE("pre_tokenizer: words, white space, punctuation, delimiters and lengths") {
  CHECK(pieces({whitespace_step()}, "a_1, b!?\tc") == List{"a_1", ",", "b", "!?", "c"});
  CHECK(pieces({whitespace_split_step()}, " a, b\u2003c ") == List{"a,", "b", "c"});
  CHECK(pieces({punctuation_step(SplitBehavior::isolated)}, "a!?$b") == List{"a", "!", "?", "$", "b"});
  CHECK(pieces({punctuation_step(SplitBehavior::contiguous)}, "a!?。b") == List{"a", "!?。", "b"});
  CHECK(pieces({delimiter_step(U'-')}, "a--b-") == List{"a", "b"});
  CHECK(pieces({fixed_length_step(2)}, "aé\nb1") == List{"aé", "\nb", "1"});
  const std::string longest = "é\n" + std::string(65533, 'a');
  CHECK(pieces({fixed_length_step(65535)}, longest + "🦙") == List{longest, "🦙"});
}

TEST_CASE("pre_tokenizer: what follows a ByteLevel sees the characters that stand for bytes") {
  // Falcon's chain.
  const Tokenizer falcon = tokenizer_of(
      R"({"Ġ":0,"1":1,"2":2,"Ã":3,"©":4,"!":5})", "[]", "",
      R"(, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"},)"
      R"({"type": "ByteLevel", "add_prefix_space": false}, {"type": "Digits", "individual_digits": false},)"
      R"({"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false}]})");
  CHECK(pieces(falcon.pre_tokenizer, "é 12112!!") == List{"Ã©", "Ġ", "121", "12", "!!"});
  CHECK(encode(falcon, "é 1!") == Ids{3, 4, 0, 1, 5});
}
