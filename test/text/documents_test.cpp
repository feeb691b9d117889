#include "midus/text/documents.hpp"

#include "midus/core/random.hpp"
#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

/// Tokens that show where pieces end: of a few characters every two, and every two of these, are a token.
/// Characters are themselves or, byte-level, bytes.
Tokenizer pairs_tokenizer(bool byte_level, const std::string& more, bool added) {
  std::vector<std::string> tokens, symbols;
  if (byte_level)
    for (const char32_t character : byte_characters()) append_utf8(tokens.emplace_back(), character);
  else
    tokens = {"a", "b", "\n", "1", "\xe2\x96\x81", "'", "s", "\r", "é", "x", ".", "<", ">", "日", "\t", " "};
  for (const std::string symbol : {"a", "b", " ", "\n", "1"})
    symbols.push_back(byte_level ? to_byte_characters(symbol) : symbol == " " ? "\xe2\x96\x81" : symbol);
  std::string vocab, merges;
  for (int round = 0; round < 2; ++round) {
    std::vector<std::string> longer;
    for (const std::string& left : symbols)
      for (const std::string& right : symbols) {
        merges += text(merges.empty() ? "[" : ",", Json(left + " " + right).dump());
        longer.push_back(left + right);
      }
    symbols = longer;
    tokens.insert(tokens.end(), symbols.begin(), symbols.end());
  }
  for (std::size_t id = 0; id < tokens.size(); ++id)
    vocab += text(id == 0 ? "{" : ",", Json(tokens[id]).dump(), ":", id);
  Json list = Json::array();
  for (const char* const content : {"<a>", "bx", "1x", "a\nx"})
    if (added)
      list.push_back({{"id", tokens.size() + list.size()}, {"content", content}, {"normalized", false}});
  if (added) list[1]["lstrip"] = list[1]["rstrip"] = list[2]["single_word"] = list[3]["normalized"] = true;
  return tokenizer_of(vocab + "}", merges + "]", "", more + R"(, "added_tokens": )" + list.dump());
}

std::string split_json(const std::string& pattern, const std::string& behavior = "Isolated",
                       bool invert = false) {
  Json split;
  split["type"] = "Split";
  split["pattern"]["Regex"] = pattern;
  split["behavior"] = behavior;
  split["invert"] = invert;
  return split.dump();
}
std::string sequence_json(const std::vector<std::string>& steps) {
  std::string list;
  for (const std::string& step : steps) list += (list.empty() ? "" : ",") + step;
  return R"({"type": "Sequence", "pretokenizers": [)" + list + "]}";
}

const std::string bytes = R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";
const std::string gpt2 = R"({"type": "ByteLevel", "add_prefix_space": false})";
std::string random_text(std::uint64_t seed, Index parts) {
  static const std::vector<std::string> of{"a",  "b",    "ab", " ",  "  ", "\n",  "\n\n", "1",  "11",   ".",
                                           "\t", " \n ", "'s", "\r", "é",  "<a>", "bx",   "1x", "a\nx", "日"};
  const Random random(seed, "documents");
  std::string text;
  for (Index i = 0; i < parts; ++i) {
    const std::string& part = of[random.below(2 * i, of.size())];
    const Index times = random.below(2 * i + 1, 12) == 0 ? 30 : 1;  // some runs are long
    for (Index j = 0; j < times; ++j) text += part;
  }
  return text;
}

Ids documents(const Tokenizer& tokenizer, ThreadPool& pool, const std::vector<std::string>& texts,
              DocumentEncoding options) {
  Ids ids;
  DocumentEncoder encoder(tokenizer, pool, options,
                          [&](auto more, auto) { ids.insert(ids.end(), more.begin(), more.end()); });
  for (const std::string& text : texts) encoder.add(std::vector<DocumentPart>{{.text = text}});
  encoder.flush();
  return ids;
}

void check_pieces(const std::string& name, const Tokenizer& tokenizer,
                  const std::vector<std::string>& texts) {
  ThreadPool one(1), three(3);
  Ids whole;
  TextEncoder encoder(tokenizer);
  for (const std::string& text : texts) {
    const Ids ids = encoder(text);
    whole.insert(whole.end(), ids.begin(), ids.end());
  }
  for (const std::size_t piece : {1, 2, 7, 30}) {
    INFO(name << ", pieces of " << piece);
    REQUIRE(documents(tokenizer, piece % 2 == 0 ? one : three, texts, {.piece = piece}) == whole);
  }
}

}  // namespace

TEST_CASE("documents: long texts in pieces have the tokens of whole ones, whatever cuts them") {
  std::vector<std::pair<std::string, Tokenizer>> tokenizers;
  const auto add = [&](const std::string& name, bool byte_level, const std::string& pre_tokenizer,
                       const std::string& more = "") {
    const std::string step = pre_tokenizer.empty() ? "" : R"(, "pre_tokenizer": )" + pre_tokenizer;
    const bool added = tokenizers.size() % 2 == 0;
    tokenizers.emplace_back(name, pairs_tokenizer(byte_level, step + more, added));
  };
  for (const std::string pattern :
       {R"('s| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", llama3_pattern.c_str(),
        R"((?<=\n\n)[ab]+|(?<=1a)b|(?<!a)1+|\s+)", R"((?<=\n) |a+(?=b)|b(?=[^1]*1)|(?<!\s)\n+)", R"([^1]+|1)",
        R"(1)", R"(\.\n)", R"(x*)", R"(a*)", R"((?=a)|(?<=1))", R"(^[^\n]*$)", R"(\A[ab]+|[ab]+\z|\n+)",
        R"((?:[^\n]+\n){3})", R"([\s\S]{7})", R"(zzz)", R"([\s\S]+1)"}) {
    add(pattern, true, sequence_json({split_json(pattern), bytes}));
  }
  for (const char* const behavior : {"Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"})
    for (const bool invert : {false, true})
      add(behavior, true, sequence_json({split_json(R"(a|\n*)", behavior, invert), bytes}));
  add("GPT-2", true, gpt2);
  add("a blank before", true, R"({"type": "ByteLevel", "add_prefix_space": true})");
  for (const char* const individual : {"false", "true"})
    add("SmolLM", true,
        sequence_json({std::string(R"({"type": "Digits", "individual_digits": )") + individual + "}", gpt2}));
  add("a Split of a Split", true,
      sequence_json({split_json(R"([^b]+)"), split_json(R"((?<=a)\s+|\n\s*)"), bytes}));
  add("blank, then Digits", true, sequence_json({R"({"type": "Digits"})", split_json(R"(\s+$)"), bytes}));
  add("no expression", true, bytes);
  const std::string normal =
      R"(, "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},)"
      R"({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})";
  add("Llama-2", false, "", normal);
  add("a normalizer and a Split", false, split_json(R"(▁+(?=b)|\n+)"), normal);
  for (const char* const scheme : {"always", "first", "never"})
    for (const char* const split : {"true", "false"})
      add(std::string("Metaspace ") + scheme, false,
          std::string(R"({"type": "Metaspace", "prepend_scheme": ")") + scheme + R"(", "split": )" + split +
              "}");
  std::vector<std::string> texts{"",       "a", "\n", std::string(300, ' '), std::string(50, '\n') + "a",
                                 "a b\n\n"};
  std::string lines;
  for (int i = 0; i < 12; ++i) lines += "a b ab .\n\n";
  texts.push_back(lines);
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    texts.push_back(random_text(seed, 40 + 20 * static_cast<Index>(seed)));
  for (const auto& [name, tokenizer] : tokenizers) check_pieces(name, tokenizer, texts);
}

TEST_CASE("documents: blank lines where a piece of the usual size ends") {
  Json vocab = parse_json(byte_vocabulary(), "vocab");
  vocab.emplace("ĊĊ", vocab.size());
  const Tokenizer tokenizer =
      tokenizer_of(vocab.dump(), R"([["Ċ","Ċ"]])", "", R"(, "pre_tokenizer": )" + gpt2);
  std::string text;
  for (int i = 0; i < 4000; ++i) text += "one two three four five six seven eight nine ten\n\n";
  ThreadPool pool(2);
  CHECK(documents(tokenizer, pool, {text}, {}) == encode(tokenizer, text));
}

TEST_CASE("documents: a run that is longer than a piece is encoded once") {
  // That a unit leaves out a match that goes too far is what keeps this from being quadratic.
  const std::vector<PreTokenizerStep> steps{SplitStep{.pattern = Regex(R"(\p{L}+)")}};
  const std::string run = "ab1" + std::string(100, 'a') + "1ab";
  PreTokenizer pre_tokenizer(steps);
  const auto bytes_of = [&](std::size_t begin, std::size_t end, std::size_t stop) {
    std::size_t bytes = 0;
    const auto reached = pre_tokenizer({0, run, begin, end}, begin, stop,
                                       [&](std::string_view piece) { bytes += piece.size(); });
    return std::pair(reached, bytes);
  };
  CHECK(bytes_of(0, 10, 20) == std::pair(std::optional<std::size_t>(103), std::size_t{2}));
  CHECK(bytes_of(20, 30, 40) == std::pair(std::optional<std::size_t>(103), std::size_t{0}));
  CHECK(bytes_of(104, 105, 105) == std::pair(std::optional<std::size_t>(run.size()), std::size_t{0}));
  CHECK(bytes_of(20, 30, 103) == std::pair(std::optional<std::size_t>(103), std::size_t{83}));
  CHECK(bytes_of(20, 30, run.size()) == std::pair(std::optional<std::size_t>(103), std::size_t{83}));
}

TEST_CASE("documents: special tokens, parts that do not count, and the end token") {
  const Tokenizer tokenizer = byte_tokenizer(
      R"({"type": "ByteLevel", "add_prefix_space": false}, "post_processor": {"type": )"
      R"("TemplateProcessing", "single": [{"SpecialToken": {"id": "B"}}, {"Sequence": {"id": "A"}},)"
      R"({"SpecialToken": {"id": "E"}}], "special_tokens": {"B": {"ids": [1]}, "E": {"ids": [2]}}})");
  ThreadPool pool(2);
  Ids ids, weights;
  std::size_t bytes_done = 0;
  DocumentEncoder encoder(
      tokenizer, pool, {.end = 3, .piece = 2},
      [&](auto more, auto of_them) {
        ids.insert(ids.end(), more.begin(), more.end());
        weights.insert(weights.end(), of_them.begin(), of_them.end());
      },
      [&](std::size_t bytes) { return bytes_done += bytes, true; });
  encoder.add(std::vector<DocumentPart>{{.text = "abcdefgh", .counts = false}, {.text = "x"}});
  encoder.add(std::vector<DocumentPart>{{.text = ""}});
  encoder.flush();
  CHECK(ids == Ids{1, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'x', 2, 3, 1, 2, 3});
  CHECK(weights == Ids{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1});
  CHECK(bytes_done == 9);
}

TEST_CASE("documents: begin and end tokens that a text spells itself are not doubled") {
  const Tokenizer tokenizer = byte_tokenizer(
      R"({"type": "ByteLevel", "add_prefix_space": false}, "added_tokens": [{"id": 256, "content": "<s>"},)"
      R"({"id": 257, "content": "</s>"}], "post_processor": {"type": "TemplateProcessing", "single": )"
      R"([{"SpecialToken": {"id": "B"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"B": {"ids": [256]}}})");
  ThreadPool pool(2);
  const std::vector<std::string> texts{"ab", "<s>ab</s>", "a</s>", "<s>", "</s>"};
  const Ids expected{256, 'a', 'b', 257, 256, 'a', 'b', 257, 256, 'a', 257, 256, 257, 256, 257};
  for (const std::size_t piece : {1, 3, 100})
    CHECK(documents(tokenizer, pool, texts, {.end = 257, .piece = piece}) == expected);
}

TEST_CASE("documents: a begin token that a text spells through the normalizer is not doubled") {
  const std::string token = R"({"id": 256, "content": "<s>", "normalized": )";
  for (const bool normalized : {true, false}) {
    const Tokenizer tokenizer = byte_tokenizer(
        bytes + R"(, "normalizer": {"type": "Lowercase"}, "added_tokens": [)" + token +
        (normalized ? "true" : "false") +
        R"(}], "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "B"}},)"
        R"({"Sequence": {"id": "A"}}], "special_tokens": {"B": {"ids": [256]}}})");
    ThreadPool pool(2);
    TextEncoder encoder(tokenizer);
    const Ids upper = normalized ? Ids{256, 'a'} : Ids{256, '<', 's', '>', 'a'};
    CHECK(encoder.document("<S>a") == upper);
    CHECK(documents(tokenizer, pool, {"<S>a"}, {}) == upper);
    CHECK(encoder.document("<s>a") == Ids{256, 'a'});
    CHECK(encoder.document("<t>a") == Ids{256, '<', 't', '>', 'a'});
  }
}

TEST_CASE("documents: whatever goes wrong with a text, its place is named once") {
  // An expression that takes too much work, at the begin of a text or when it is cut, in the normalizer or
  // not.
  const std::string costly = R"({"Regex": "(a|a)*(a|a)*(a|a)*(a|a)*(a|a)*[cd]"})";
  const std::string split =
      R"({"type": "Split", "behavior": "Isolated", "invert": false, "pattern": )" + costly;
  const std::string more =
      R"(, "added_tokens": [{"id": 256, "content": "<s>"}], "post_processor": {"type": "TemplateProcessing",)"
      R"("single": [{"SpecialToken": {"id": "B"}}, {"Sequence": {"id": "A"}}], "special_tokens":)"
      R"({"B": {"ids": [256]}}})";
  const std::vector<Tokenizer> tokenizers{
      byte_tokenizer(sequence_json({split + "}", bytes}) + more),
      byte_tokenizer(bytes + R"(, "normalizer": {"type": "Replace", "content": "", "pattern": )" + costly +
                     "}" + more)};
  ThreadPool pool(2);
  for (const Tokenizer& tokenizer : tokenizers)
    for (const std::size_t piece : {10, 1000})
      for (const std::string begin : {"", "<s>"}) {
        const std::string message = message_of([&] {
          const std::string text = begin + std::string(60, 'a');
          DocumentEncoder encoder(tokenizer, pool, {.piece = piece}, [](auto, auto) {});
          encoder.add(std::vector<DocumentPart>{{.text = text, .place = "a.txt"}});
          encoder.flush();
        });
        CHECK_THAT(message, Catch::Matchers::StartsWith("a.txt: ") && Contains("too much work"));
        CHECK(message.find("a.txt", 1) == std::string::npos);
      }
}

TEST_CASE("documents: a character without a token is named with its place, left out, or replaced") {
  Json vocab = parse_json(byte_vocabulary(), "vocab"), without = Json::object();
  for (auto item = vocab.begin(); item != vocab.end(); ++item)
    if (*item != 0x14 && *item != 0x82) without[item.key()] = *item;
  const Tokenizer lacks = tokenizer_of(without.dump(), "[]", "", R"(, "pre_tokenizer": )" + gpt2);
  ThreadPool pool(3);
  const std::string lines = "one line\ntwo é lines\n";
  for (const std::size_t piece : {2, 7, 1000}) {
    INFO(piece);
    CHECK_THAT(message_of([&] {
                 documents(lacks, pool,
                           {lines +
                            "a\x14"
                            "b\n" +
                            lines + "\x14"},
                           {.piece = piece});
               }),
               Contains("line 3, byte 23: the vocabulary has no token for the byte 0x14"));
    const std::string euro = "x €\x14y";  // the euro sign is E2 82 AC
    CHECK(documents(lacks, pool, {euro}, {.unknown = Unknown::drop, .piece = piece}) ==
          Ids{'x', ' ', 0xE2, 0xAC, 'y'});
    CHECK(documents(lacks, pool, {euro}, {.unknown = Unknown::replace, .piece = piece}) ==
          Ids{'x', ' ', 0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD, 'y'});
  }
  const std::string within = "first\n" + lines + "\x14";
  DocumentEncoder encoder(lacks, pool, {}, [](auto, auto) {});
  encoder.add(std::vector<DocumentPart>{
      {.text = std::string_view(within).substr(6), .place = "a.txt", .within = within}});
  CHECK_THAT(message_of([&] { encoder.flush(); }), Contains("a.txt: line 4, byte 28: "));

  const Tokenizer characters = tokenizer_of(R"({"a":0,"b":1,"�":2})");
  CHECK(documents(characters, pool, {"acb"}, {.unknown = Unknown::drop}) == Ids{0, 1});
  CHECK(documents(characters, pool, {"acb"}, {.unknown = Unknown::replace}) == Ids{0, 2, 1});
  CHECK_THAT(message_of([&] { documents(characters, pool, {"acb"}, {}); }), Contains("no token for \"c\""));
  CHECK_THAT(
      message_of([&] { documents(tokenizer_of(R"({"a":0})"), pool, {"a"}, {.unknown = Unknown::replace}); }),
      Contains("cannot be replaced"));
  const Tokenizer has_unk = tokenizer_of(R"({"a":0,"?":1})", "[]", R"(, "unk_token": "?")");
  for (const Unknown unknown : {Unknown::error, Unknown::drop, Unknown::replace})
    CHECK(documents(has_unk, pool, {"axa"}, {.unknown = unknown}) == Ids{0, 1, 0});
}
