#include "midus/train/split.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "midus/core/random.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;

namespace {

using Percentages = std::vector<double>;
using Texts = std::vector<std::string_view>;

}  // namespace

TEST_CASE("Split: tokens are cut by percentage") {
  CHECK(split_tokens(10, Percentages{90, 10}) == std::vector<Range>{{0, 9}, {9, 10}});
  CHECK(split_tokens(200, Percentages{90, 5, 5}) == std::vector<Range>{{0, 180}, {180, 190}, {190, 200}});
  CHECK(split_tokens(1000, Percentages{99.9, 0.1}) == std::vector<Range>{{0, 999}, {999, 1000}});
  CHECK(split_tokens(3, parse_percentages("33.4,33.3,33.3")) == std::vector<Range>{{0, 1}, {1, 2}, {2, 3}});
  const Index large = Index{3} << 40;
  CHECK(split_tokens(large, Percentages{50, 50})[0].end == large / 2);
}

TEST_CASE("Split: an empty part is refused", "[TR-06]") {
  CHECK_THAT(message_of([] {
               split_tokens(10, Percentages{90, 5, 5});
             }),
             Catch::Contains("validation part (5 % of 10 tokens) would be empty"));
  CHECK_THAT(message_of([] { split_tokens(0, Percentages{50, 50}); }), Catch::Contains("train part"));
  CHECK_THAT(message_of([] {
               split_lines(Texts{"one line only, without an end"}, Percentages{50, 50});
             }),
             Catch::Contains("validation part"));
}

TEST_CASE("Split: lines stay whole") {
  // Ideal border 50 % of 12 bytes = 6: inside "cccc\n".
  CHECK(split_lines(Texts{"aa\nbb\ncccc\nd"}, Percentages{50, 50}) == std::vector<Range>{{0, 6}, {6, 12}});
  CHECK(split_lines(Texts{"aa\nbbb\nccc\nd"}, Percentages{50, 50}) == std::vector<Range>{{0, 7}, {7, 12}});
  // The end of a text ends a line.
  CHECK(split_lines(Texts{"aaaaaaa", "bbbbb"}, Percentages{50, 50}) == std::vector<Range>{{0, 7}, {7, 12}});
  CHECK(split_lines(Texts{"aaaaaa", "", "bb\nbbb"}, Percentages{50, 50}) ==
        std::vector<Range>{{0, 6}, {6, 12}});

  // Against the definition, on random texts in random pieces.
  const Random random(1, "split");
  for (Index trial = 0; trial < 300; ++trial) {
    const auto below = [&](Index i, std::uint64_t n) { return random.below(trial * 1000 + i, n); };
    std::string text;
    for (Index i = 0; i < 200; ++i) text += below(i, 4) == 0 ? '\n' : 'x';
    const auto cut = static_cast<std::size_t>(below(900, 200));
    Texts pieces{std::string_view(text).substr(0, cut), std::string_view(text).substr(cut)};
    const auto parts = split_lines(pieces, Percentages{50, 25, 25});
    Index ideal[] = {100, 150};
    for (int i = 0; i < 2; ++i) {
      Index border = ideal[i];
      while (border < 200 && border != static_cast<Index>(cut) &&
             text[static_cast<std::size_t>(border) - 1] != '\n')
        ++border;
      CHECK(parts[static_cast<std::size_t>(i)].end == border);
    }
  }
}

TEST_CASE("Split: documents stay whole") {
  const std::vector<std::int32_t> tokens{5, 6, 0, 7, 8, 9, 0, 4, 4, 0};
  CHECK(split_documents(tokens, 0, Percentages{50, 50}) == std::vector<Range>{{0, 7}, {7, 10}});
  CHECK(split_documents(tokens, 0, Percentages{30, 70}) == std::vector<Range>{{0, 3}, {3, 10}});
  CHECK_THAT(message_of([&] {
               split_documents(tokens, 77, Percentages{50, 50});
             }),
             Catch::Contains("would be empty"));
}

TEST_CASE("Split: percentages from the command line") {
  CHECK(parse_percentages("90,5,5") == Percentages{90, 5, 5});
  CHECK(parse_percentages("99.5,.5") == Percentages{99.5, 0.5});
  CHECK(parse_percentages("99.75,0.25") == Percentages{99.75, 0.25});
  for (const char* list : {"", ",", "90", "90,5,5,", "90;10", "a,b", "90,-10", "90, 10", "1e1,90",
                           "50.0.0,50", ".,50", "100000000000000000000,5"})
    CHECK_THAT(message_of([&] { parse_percentages(list); }), Catch::Contains("split: "));
  CHECK_THAT(message_of([] { parse_percentages("90,5"); }), Catch::Contains("add up to 100, found 95"));
  CHECK_THAT(message_of([] { parse_percentages("90,0,10"); }), Catch::Contains("found 0; leave out"));
  CHECK_THAT(message_of([] { parse_percentages("100"); }), Catch::Contains("found 1"));
  CHECK_THAT(message_of([] { parse_percentages("40,30,20,10"); }), Catch::Contains("found 4"));
}
