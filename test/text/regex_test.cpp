#include "midus/text/regex.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::message_of;

namespace {

std::vector<std::string> found_by(const std::string& pattern, const std::string& text) {
  const Regex regex(pattern);
  std::vector<std::string> found;
  RegexMatcher(regex).for_matches(
      text, [&](std::size_t begin, std::size_t end) { found.push_back(text.substr(begin, end - begin)); });
  return found;
}

std::string refusal(const std::string& pattern) {
  return message_of([&] { Regex regex(pattern); });
}

using List = std::vector<std::string>;

}  // namespace

TEST_CASE("regex: matches from left to right, empty ones once") {
  CHECK(found_by("a+", "baaca") == List{"aa", "a"});
  CHECK(found_by("x*", "axb") == List{"", "x", ""});
  CHECK(found_by("(?=a)", "aa") == List{"", ""});
  CHECK(found_by("", "é") == List{"", ""});
  CHECK(found_by("(?i:'S|'t)", "a'sb'T") == List{"'s", "'T"});
  CHECK(found_by("^b|c$", "b\nbc\n") == List{"b", "b", "c"});  // lines, as in Oniguruma
  CHECK(found_by("a{,2}b", "aaab") == List{"aab"});
  CHECK(found_by("a{x", "a{x") == List{"a{x"});
  CHECK(found_by("[\\v]", "\n\v") == List{"\v"});
  CHECK(found_by("\\u00e9|\\xe8|\\x{EA}", "é è ê") == List{"é", "è", "ê"});
}

TEST_CASE("regex: Unicode classes are those of `tokenizers`, whatever PCRE2 knows") {
  // For every code point: the class, alone and in brackets, and what is not in it.
  const auto check = [](const std::string& name, const CodePointRanges& expected) {
    for (const std::string& pattern : {name, "[" + name + "\\r]"}) {
      CodePointRanges found = detail::ranges_of_pcre2(detail::RegexTranslation(pattern).text());
      CodePointRanges wanted = expected;
      if (pattern.size() > name.size()) {  // and the carriage return
        wanted = detail::difference(wanted, {{'\r', '\r'}});
        found = detail::difference(found, {{'\r', '\r'}});
      }
      INFO(pattern);
      CHECK(detail::difference(found, wanted).empty());
      CHECK(detail::difference(wanted, found).empty());
    }
  };
  for (const std::string name :
       {"L", "N", "M", "P", "S", "Z", "Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Mn", "Zs"}) {
    check("\\p{" + name + "}", category_ranges(name));
    check("\\P{" + name + "}", detail::difference({{0, 0x10FFFF}}, category_ranges(name)));
    check("\\p{^" + name + "}", detail::difference({{0, 0x10FFFF}}, category_ranges(name)));
  }
  check("\\s", white_space_ranges());
  check("\\S", detail::difference({{0, 0x10FFFF}}, white_space_ranges()));
  check("\\d", category_ranges("Nd"));
}

TEST_CASE("regex: what Oniguruma reads otherwise is refused by name") {
  for (const std::string pattern :
       {"\\h",    "\\w",  "\\b",     "\\R",      "\\X",    "\\k<a>",      "\\1",
        "\\K",    "\\G",  "(?<a>b)", "(?#c)",    "(?m:a)", "[[:alpha:]]", "[a[b]]",
        "[a&&b]", "[]a]", "a{1,3}+", "\\p{Han}", "\\p{}",  "\\p{L",       "\\",
        "[a",     "(a",   "*",       "(*FAIL)",  "\\x",    "\\u12",       "\xff"}) {
    INFO(pattern);
    CHECK_THAT(refusal(pattern), Contains("the regular expression") && !Contains("nothing was thrown"));
  }
  CHECK_THAT(refusal("[a&&b]"), Contains("&& in a class is not supported"));
  CHECK_THAT(refusal("\\p{Han}"), Contains("\\p{Han}"));
}

TEST_CASE("regex: a hostile pattern ends in an error, not in hours") {
  const std::string text(40, 'a');
  CHECK_THAT(message_of([&] { found_by("(?:a*)*[bc]", text + text + text); }),
             Contains("takes too much work"));
  CHECK_THAT(message_of([&] { found_by("(?:a|aa)+[bc]", text + text); }), Contains("takes too much work"));
  CHECK(found_by("(?:a|b)*", std::string(200000, 'a')).size() == 1);  // long, and no trouble

  // Below the limit at every place of a text, at which all together would be minutes and more.
  std::string groups;
  for (int i = 0; i < 10000; ++i) groups += "aaaaaaaaaaaaaaaaa-";
  const std::string run(200000, 'a');
  for (const std::string& long_text : {groups, run})
    for (const std::string pattern : {"(?:a|a)*[bc]", "(?:a*)*[bc]", "(?:a|b)*[cd]", "(?:(?:a|a)*[bc])?a"}) {
      INFO(pattern);
      if (long_text == groups && pattern == "(?:a|b)*[cd]") continue;  // that is little work
      CHECK_THAT(message_of([&] { found_by(pattern, long_text); }), Contains("takes too much work"));
    }
}

TEST_CASE("regex: a match is found however far away it begins, and whatever was looked at before") {
  for (const std::size_t blanks : {0, 1, 62, 63, 64, 65, 200}) {
    const std::string before(blanks, ' ');
    CHECK(found_by("x+", before + "xx" + before) == List{"xx"});
    std::string accents;
    for (std::size_t i = 0; i < blanks; ++i) accents += "é";
    CHECK(found_by("(?<=é)x|y", accents + "x" + accents + "y") == (blanks > 0 ? List{"x", "y"} : List{"y"}));
    CHECK(found_by("(?=b)|\\z", accents + "b").size() == 2);
    // Places that take much work, fewer than are too many; then a match.
    CHECK(found_by("(?:a|a)*[bc]", before + std::string(15, 'a') + " " + before + "ab") == List{"ab"});
  }
}
