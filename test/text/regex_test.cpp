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
  CHECK(found_by("\\u00e9|\\xc3\\xa8|\\x{EA}", "é è ê") == List{"é", "è", "ê"});  // \xHH is a byte there
}

// Oniguruma's language: each with what `tokenizers` finds (test/tokenizers/pre_tokenizers.py has many more).
TEST_CASE("regex: word boundaries, and what a word is") {
  CHECK(found_by("\\bab?\\b", "ab abc a") == List{"ab", "a"});
  CHECK(found_by("a\\B", "ab a") == List{"a"});
  CHECK(found_by("\\d{1,3}(?=(?:\\d{3})*\\b)", "1234567 12") == List{"1", "234", "567", "12"});
  CHECK(found_by("\\w+", "a_1é\u0301²") == List{"a_1é\u0301²"});
  CHECK(found_by("[\\w]+", "1²½a") == List{"1", "a"});  // in brackets those of Latin-1 are none
  CHECK(found_by("\\W", "a-²") == List{"-"});
}

TEST_CASE("regex: classes in classes, what they have in common, and classes by name") {
  CHECK(found_by(" ?[^(\\s|[.,!?])]+", "a b,c(d) e]") == List{"a", " b", "c", "d", " e]"});
  CHECK(found_by("[a[bc]d]+", "abcde") == List{"abcd"});
  CHECK(found_by("[a[^b]]", "ab") == List{"a"});
  CHECK(found_by("[a-z&&[^aeiou]]+", "abcde") == List{"bcd"});
  CHECK(found_by("[^a-z&&[^aeiou]]+", "abc1") == List{"a", "1"});
  CHECK(found_by("[a&&]", "a&").empty());
  CHECK(found_by("[^a&&]", "a&") == List{"a", "&"});
  CHECK(found_by("[\\p{L}&&[^\\p{Han}]]+", "a一b") == List{"a", "b"});
  CHECK(found_by("[[:alpha:][:digit:]]+", "a1-b") == List{"a1", "b"});
  CHECK(found_by("[[:^alpha:]]", "a1") == List{"1"});
  CHECK(found_by("[[:punct:]]", "$-") == List{"$", "-"});
  CHECK(found_by("\\p{Punct}", "$-") == List{"-"});  // the general category
  CHECK(found_by("[]a]+", "x]a") == List{"]a"});
  CHECK(found_by("[a-c-e]+", "abcde-") == List{"abc", "e-"});
  CHECK(found_by("[[a]-z]+", "a-mz") == List{"a-", "z"});
  CHECK(found_by("\\p{Han}+|\\p{latin}+|\\p{Hira}", "一二ab1あ") == List{"一二", "ab", "あ"});
  CHECK(found_by("\\p{^Han}|\\P{Letter}", "一a1") == List{"a", "1"});
  CHECK(found_by("\\h+\\H", "ffg1") == List{"ffg"});
}

TEST_CASE("regex: repeats as Oniguruma reads them") {
  CHECK(found_by("a{1,2}+b", "aab") == List{"aab"});  // not possessive: a repeat of a repeat
  CHECK(found_by("a{1,3}+", "aaaaaaa") == List{"aaaaaaa"});
  CHECK(found_by("ba{3}?", "baaa ba") == List{"baaa", "b"});   // optional, and not three or more
  CHECK(found_by("ba{3,1}a", "baaa baaaa") == List{"baaaa"});  // possessive
  CHECK(found_by("x{2}{3}", std::string(8, 'x')) == List{"xxxxxx"});
  CHECK(found_by("ba**", "baa") == List{"baa"});
}

TEST_CASE("regex: groups with names, comments, options to the end of a group, and line ends") {
  CHECK(found_by("(?<x>a)(?'y'b)(?#c\\)d)+", "abb") == List{"abb"});
  CHECK(found_by("a(?i)b|c", "ab aC Ab B aB") == List{"ab", "aC", "aB"});
  CHECK(found_by("(?m:a.b)", "a\nb") == List{"a\nb"});  // there m is what s is elsewhere
  CHECK(found_by("\\R", "a\r\nb\n\u2028") == List{"\r\n", "\n", "\u2028"});
  CHECK(found_by("\\N+|\\O", "ab\n") == List{"ab", "\n"});
  CHECK(found_by("(?i)\\p{Lu}|[b]", "aABb") == List{"A", "B", "b"});  // it reaches classes in brackets alone
}

TEST_CASE("regex: letters that are several where case is passed over are refused") {
  for (const std::string pattern : {"(?i)ss", "(?i:ß)", "(?i)[ß]", "(?i)sS", "(?i)s(?:s)", "(?i)s{2}",
                                    "(?i:st)", "(?i)ﬁ", "(?i)\\x73s", "(?i)[\\p{L}]", "(?i)İ"}) {
    INFO(pattern);
    CHECK_THAT(refusal(pattern), Contains("several in lower case"));
  }
  CHECK(found_by("(?i:'s|'t|'re|s|t)", "'S'reſ") == List{"'S", "'re", "ſ"});
  CHECK(found_by("(?i)[^ß]", "ßa") == List{"a"});
  CHECK(found_by("ss(?i)a", "ssA") == List{"ssA"});
}

TEST_CASE("regex: Unicode classes are those of `tokenizers`, whatever PCRE2 knows") {
  // For every code point: the class, alone and in brackets, and what is not in it.
  const auto check = [](const std::string& name, const CodePointRanges& expected) {
    for (const std::string& pattern : {name, "[" + name + "\\r]"}) {
      CodePointRanges found = detail::ranges_of_pcre2(detail::RegexTranslation(pattern).text());
      CodePointRanges wanted = expected;
      if (pattern.size() > name.size()) {  // and the carriage return
        wanted = difference(wanted, {{'\r', '\r'}});
        found = difference(found, {{'\r', '\r'}});
      }
      INFO(pattern);
      CHECK(difference(found, wanted).empty());
      CHECK(difference(wanted, found).empty());
    }
  };
  for (const std::string name :
       {"L", "N", "M", "P", "S", "Z", "Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Mn", "Zs"}) {
    check("\\p{" + name + "}", category_ranges(name));
    check("\\P{" + name + "}", difference({{0, 0x10FFFF}}, category_ranges(name)));
    check("\\p{^" + name + "}", difference({{0, 0x10FFFF}}, category_ranges(name)));
  }
  check("\\s", white_space_ranges());
  check("\\S", difference({{0, 0x10FFFF}}, white_space_ranges()));
  check("\\d", category_ranges("Nd"));
}

TEST_CASE("regex: every script has members, by its name and by its code") {
  for (const std::string_view names : detail::unicode_scripts)
    for (std::size_t begin = 0, end = 0; begin < names.size(); begin = end + 1) {
      end = std::min(names.find(':', begin), names.size());
      const std::string name(names.substr(begin, end - begin));
      INFO(name);
      CHECK(property_ranges(property_key(name)));
    }
  CHECK(found_by("\\p{Nyiakeng_Puachue_Hmong}+", "a\U0001E100\U0001E101") == List{"\U0001E100\U0001E101"});
}

TEST_CASE("regex: what Oniguruma reads otherwise is refused by name") {
  for (const std::string pattern : {"\\X",       "\\k<a>",
                                    "\\1",       "\\K",
                                    "\\G",       "\\y",
                                    "(?P<a>b)",  "(?<1>a)",
                                    "(?x:a)",    "(?~a)",
                                    "(?(1)a)",   "(?{a})",
                                    "[]",        "[a-\\d]",
                                    "[\\d-z]",   "[[:foo:]]",
                                    "[b-a]",     "[a",
                                    "[[:alpha]", "\\p{}",
                                    "\\p{L",     "\\pL",
                                    "[\\PL]",    "\\p{Foo}",
                                    "\\p{L&}",   "\\p{Script=Han}",
                                    "\\",        "(a",
                                    "a)",        "*",
                                    "a|*",       "(?=a)*",
                                    "\\b+",      "(*FAIL)",
                                    "\\x",       "\\xe8",
                                    "\\u12",     "\xff",
                                    "\\x{d800}", "(?#a"}) {
    INFO(pattern);
    CHECK_THAT(refusal(pattern), Contains("the regular expression") && !Contains("nothing was thrown"));
  }
  CHECK_THAT(refusal("\\p{Foo}"), Contains("\\p{foo}"));
}

TEST_CASE("regex: a hostile pattern ends in an error, not in hours") {
  const std::string text(40, 'a');
  CHECK_THAT(message_of([&] { found_by("(?:a*)*[bc]", text + text + text); }),
             Contains("takes too much work"));
  CHECK_THAT(message_of([&] { found_by("(?:a|aa)+[bc]", text + text); }), Contains("takes too much work"));
  CHECK(found_by("(?:a|b)*", std::string(200000, 'a')).size() == 1);  // long, and no trouble
  CHECK_THAT(message_of([&] { found_by("(?<x>a{1,2}+|[a&&\\w])+[[:digit:]]", text + text); }),
             Contains("takes too much work"));
  for (const std::string& large : {std::string(100'000, '['), "a" + std::string(100'000, '?'),
                                   "(?i)" + std::string(100'000, '('), "[" + [] {
                                     std::string classes;
                                     for (int i = 0; i < 100'000; ++i) classes += "\\P{Han}&&";
                                     return classes;
                                   }()})
    CHECK_THAT(refusal(large), Contains("the regular expression"));

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
