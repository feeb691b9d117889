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
