#include "midus/text/decoder.hpp"

#include <algorithm>

#include "midus/core/random.hpp"
#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;

namespace {

using Tokens = std::vector<std::string>;

// What the steps do with all tokens at once.
Tokens done_by(const ByteLevelDecode&, const Tokens& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) bytes += Decoder::byte_level_bytes(token);
  return {replace_invalid_utf8(bytes)};
}
Tokens done_by(const ByteFallbackDecode&, const Tokens& tokens) {
  Tokens out;
  std::string run;
  const auto end_run = [&] {
    if (is_utf8(run) && !run.empty()) out.push_back(run);
    if (!is_utf8(run)) out.insert(out.end(), run.size(), "\xef\xbf\xbd");
    run.clear();
  };
  for (const std::string& token : tokens)
    if (const auto byte = Decoder::fallback_byte(token))
      run += *byte;
    else
      end_run(), out.push_back(token);
  end_run();
  return out;
}
Tokens done_by(const FuseDecode&, const Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  return {all};
}
Tokens done_by(const StripDecode& strip, Tokens tokens) {
  for (std::string& token : tokens) {
    for (std::size_t i = 0; i < strip.start && token.starts_with(strip.content); ++i)
      token.erase(0, strip.content.size());
    for (std::size_t i = 0; i < strip.stop && token.ends_with(strip.content); ++i)
      token.resize(token.size() - strip.content.size());
  }
  return tokens;
}
Tokens done_by(const MetaspaceDecode& metaspace, Tokens tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = ReplaceText{metaspace.replacement, i == 0 && metaspace.prepended ? "" : " "}(tokens[i]);
  return tokens;
}
Tokens done_by(const ReplaceText& replace, Tokens tokens) {
  for (std::string& token : tokens) token = replace(token);
  return tokens;
}

std::string at_once(const Decoder& decoder, Tokens tokens) {
  for (const DecoderStep& step : decoder.steps)
    tokens = std::visit([&](const auto& each) { return done_by(each, tokens); }, step);
  std::string out;
  for (const std::string& token : tokens)
    out += (decoder.steps.empty() && decoder.blanks && &token != &tokens[0] ? " " : "") + token;
  return out;
}

DecoderStep draw_step(const Random& random, Index at) {
  switch (random.below(at, 10)) {
    case 0:
      return ByteLevelDecode{};
    case 1:
      return ByteFallbackDecode{};
    case 2:
      return FuseDecode{};
    case 3:
      return StripDecode{" ", random.below(at + 1, 3), random.below(at + 2, 3)};
    case 4:
      return StripDecode{"ab", random.below(at + 1, 3), random.below(at + 2, 3)};
    case 5:
      return MetaspaceDecode{.prepended = random.below(at + 1, 2) == 0};
    case 6:
      return ReplaceText{"\xe2\x96\x81", " "};
    case 7:
      return ReplaceText{"ab", "X"};
    default:
      return ReplaceText{"aab", "ba"};
  }
}

/// "ByteLevel, Fuse": the steps by their place in the variant.
std::string name_of(const Decoder& decoder) {
  static constexpr const char* names[]{"ByteLevel", "ByteFallback", "Fuse", "Strip", "Metaspace", "Replace"};
  std::string name = decoder.blanks ? "blanks" : "";
  for (const DecoderStep& step : decoder.steps)
    name += (name.empty() ? "" : ", ") + std::string(names[step.index()]);
  return name;
}

}  // namespace

TEST_CASE("decoder: a stream gives what all tokens at once give, for every chain of steps") {
  const Tokens some{"a",
                    "b",
                    "ab",
                    "aa",
                    "\xe2\x96\x81",
                    "\xe2\x96\x81"
                    "a",
                    " ",
                    "  ",
                    "Ġ",
                    "Ã",
                    "©",
                    "Ã©",
                    "ð",
                    "Ł",
                    "¦",
                    "Ļ",
                    "é",
                    "日",
                    "<0xC3>",
                    "<0xA9>",
                    "<0x41>",
                    "<0xFF>",
                    "<s>",
                    "",
                    "ba",
                    "b"
                    "Ã"};
  for (Index round = 0; round < 3000; ++round) {
    const Random random(static_cast<std::uint64_t>(round), "decoder");
    Decoder decoder;
    decoder.blanks = round % 2 == 0;
    const auto steps = static_cast<Index>(random.below(0, 5));
    for (Index i = 0; i < steps; ++i) decoder.steps.push_back(draw_step(random, 10 + 10 * i));
    const Random choice = random;
    Tokens tokens(random.below(1, 14));
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = some[choice.below(100 + static_cast<Index>(i), some.size())];
    INFO(round << ": " << name_of(decoder));
    const std::string all = at_once(decoder, tokens);
    DecoderStream stream(decoder);
    std::string said;
    for (const std::string& token : tokens) {
      const std::string part = stream.push(token);
      REQUIRE(is_utf8(part));
      said += part;
    }
    const std::string rest = stream.finish();
    REQUIRE(is_utf8(rest));
    REQUIRE(said + rest == all);
    REQUIRE(decoder(tokens) == all);
  }
}

TEST_CASE("decoder: a step beside the byte-level one does not keep text back to the end") {
  const auto said_at = [](std::vector<DecoderStep> steps, const Tokens& tokens) {
    Decoder decoder;
    decoder.steps = std::move(steps);
    DecoderStream stream(decoder, true);
    std::string said;
    for (const std::string& token : tokens) said += stream.push(token) + "|";
    return said + stream.finish();
  };
  const Tokens e_acute{"Ã", "©", "a", "Ġ"};
  const std::string at_once = "|é|a| |";
  CHECK(said_at({ByteLevelDecode{}}, e_acute) == at_once);
  CHECK(said_at({ByteLevelDecode{}, FuseDecode{}}, e_acute) == at_once);
  CHECK(said_at({FuseDecode{}, ByteLevelDecode{}}, e_acute) == at_once);
  CHECK(said_at({ReplaceText{"\xe2\x96\x81", " "}, ByteLevelDecode{}}, e_acute) == at_once);
  CHECK(said_at({ByteLevelDecode{}, ReplaceText{"\xe2\x96\x81", " "}}, e_acute) == at_once);
  CHECK(said_at({ByteLevelDecode{}, StripDecode{" ", 1, 0}}, {"Ġ", "Ġ", "a", "Ġ"}) == "| |a| |");
  CHECK(said_at({ByteLevelDecode{}, StripDecode{" ", 0, 1}}, {"a", "Ġ", "b", "Ġ"}) == "a|| b||");
  CHECK(said_at({FuseDecode{}, ReplaceText{"ab", "X"}}, {"a", "a", "b", "c"}) == "|a|X|c|");
}

TEST_CASE("decoder: no decoder joins tokens with blanks, an empty sequence of them without") {
  const std::string vocab = R"({"a":0,"b":1})";
  CHECK(tokenizer_of(vocab).decode(Ids{0, 1, 0}) == "a b a");
  CHECK(tokenizer_of(vocab, "[]", "", R"(, "decoder": null)").decode(Ids{0, 1}) == "a b");
  CHECK(tokenizer_of(vocab, "[]", "", R"(, "decoder": {"type": "Sequence", "decoders": []})")
            .decode(Ids{0, 1}) == "ab");
}
