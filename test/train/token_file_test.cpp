#include "midus/train/token_file.hpp"

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "midus/core/random.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::file_bytes;
using midus::test::message_of;
using midus::test::put_file;
using midus::test::TemporaryDirectory;

namespace {

using Ids = std::vector<std::int32_t>;

std::filesystem::path write_tokens(const std::filesystem::path& path, const Ids& ids,
                                   TokenFileOptions options = {}) {
  TokenWriter writer(path, options);
  writer.append(ids);
  writer.commit();
  return path;
}

Ids all_tokens(const TokenFile& file) {
  Ids ids(static_cast<std::size_t>(file.size()));
  file.read(0, ids);
  return ids;
}

/// The file's bytes with some of them replaced.
std::string patched(std::string bytes, std::size_t at, std::string_view by) {
  return bytes.replace(at, by.size(), by);
}

}  // namespace

TEST_CASE("TokenFile: the bytes are those of the documented format") {
  const TemporaryDirectory directory;
  TokenWriter writer(directory / "a", {.vocabulary = 300, .weighted = true});
  writer.append(Ids{1, 299}, std::vector<std::uint8_t>{1, 0});
  writer.commit();
  std::string expected("MIDUSTOK\1\0\0\0\2\0\0\0\2\0\0\0\0\0\0\0\x2c\1\0\0\0\0\0\0\1\0\0\0", 36);
  expected.resize(128);
  expected += std::string("\1\0\x2b\1\1\0", 6);
  CHECK(file_bytes(directory / "a") == expected);
}

TEST_CASE("TokenFile: what was written is read, at both widths") {
  const TemporaryDirectory directory;
  const Random random(1, "tokens");
  for (const Index vocabulary : {Index{1}, Index{256}, Index{65536}, Index{65537}, Index{0x7fffffff}}) {
    TokenFileOptions options{.vocabulary = vocabulary};
    options.tokenizer[31] = 7;
    Ids ids;
    for (Index i = 0; i < 1000; ++i)
      ids.push_back(static_cast<std::int32_t>(random.below(i, static_cast<std::uint64_t>(vocabulary))));
    ids.back() = static_cast<std::int32_t>(vocabulary - 1);
    const TokenFile file(write_tokens(directory / "a", ids, options));
    CHECK(file.size() == 1000);
    CHECK(file.vocabulary() == vocabulary);
    CHECK(file.header().bytes_per_token() == (vocabulary <= 65536 ? 2 : 4));
    CHECK(file.header().tokenizer == options.tokenizer);
    CHECK(all_tokens(file) == ids);
    Ids part(10);
    file.read(990, part);
    CHECK(part == Ids(ids.end() - 10, ids.end()));
    CHECK(file.counts(999));
  }
}

TEST_CASE("TokenFile: more tokens than the writer's buffer holds, with weights") {
  const TemporaryDirectory directory;
  TokenWriter writer(directory / "a", {.weighted = true});
  std::string text;
  for (int i = 0; i < 300000; ++i) text += static_cast<char>(i % 251);
  writer.append_bytes(text);
  writer.append(Ids{65, 66, 67}, std::vector<std::uint8_t>{0, 1, 0});
  CHECK(writer.size() == 300003);
  writer.commit();
  const TokenFile file(directory / "a");
  const Ids ids = all_tokens(file);
  for (std::size_t i = 0; i < text.size(); ++i) REQUIRE(ids[i] == static_cast<unsigned char>(text[i]));
  for (Index i = 0; i < 300000; ++i) REQUIRE(file.counts(i));
  CHECK_FALSE(file.counts(300000));
  CHECK(file.counts(300001));
  CHECK_FALSE(file.counts(300002));
}

TEST_CASE("TokenFile: the length is checked against the file", "[TR-06]") {
  const TemporaryDirectory directory;
  const auto path = directory / "a";
  const auto error = [&](std::string_view bytes) {
    put_file(path, bytes);
    return message_of([&] { TokenFile file(path); });
  };
  const std::string good = file_bytes(write_tokens(path, {1, 2, 3}));
  CHECK(good.size() == 134);
  CHECK(error(good) == "nothing was thrown");
  CHECK_THAT(error(good + "x"), Catch::Contains("expected 134 bytes") && Catch::Contains("found 135") &&
                                    Catch::Contains(path.string()));
  CHECK_THAT(error(good.substr(0, 133)),
             Catch::Contains("expected 134 bytes") && Catch::Contains("found 133"));
  CHECK_THAT(error(good.substr(0, 128)),
             Catch::Contains("expected 134 bytes") && Catch::Contains("found 128"));
  CHECK_THAT(error(""), Catch::Contains("header of 128 bytes, found a file of 0"));
  for (std::size_t length = 0; length < 128; ++length)
    CHECK_THAT(error(good.substr(0, length)), Catch::Contains("header of 128 bytes"));
  CHECK(TokenFile(write_tokens(path, {})).size() == 0);  // header only: valid, and too short to train on
}

TEST_CASE("TokenFile: a malformed header is refused") {
  const TemporaryDirectory directory;
  const auto path = directory / "a";
  const std::string good = file_bytes(write_tokens(path, {1, 2, 3}));
  const auto error = [&](std::size_t at, std::string_view by) {
    put_file(path, patched(good, at, by));
    return message_of([&] { TokenFile file(path); });
  };
  using std::string_view_literals::operator""sv;
  const auto all_ones = "\xff\xff\xff\xff\xff\xff\xff\xff"sv;
  CHECK_THAT(error(0, "midustok"), Catch::Contains("MIDUSTOK"));
  CHECK_THAT(error(8, "\2"), Catch::Contains("expected version 1, found 2"));
  CHECK_THAT(error(12, "\4"), Catch::Contains("expected 2 bytes per token for a vocabulary of 256, found 4"));
  CHECK_THAT(error(12, "\0"sv), Catch::Contains("found 0"));
  CHECK_THAT(error(16, all_ones), Catch::Contains("18446744073709551615 tokens"));
  CHECK_THAT(error(16, "\3\0\0\0\0\0\0\x80"sv), Catch::Contains("9223372036854775811 tokens"));
  CHECK_THAT(error(16, "\4"), Catch::Contains("expected 136 bytes"));
  CHECK_THAT(error(24, all_ones), Catch::Contains("vocabulary"));
  CHECK_THAT(error(24, "\0\0"sv), Catch::Contains("expected a vocabulary of 1 to 2147483647, found 0"));
  CHECK_THAT(error(24, "\0\0\0\x80"sv), Catch::Contains("found 2147483648"));
  CHECK_THAT(error(32, "\1"), Catch::Contains("each with a loss weight") && Catch::Contains("expected 137"));
  CHECK_THAT(error(32, "\2"), Catch::Contains("flags 0 or 1, found 2"));
  CHECK_THAT(error(68, "\1"), Catch::Contains("zeros"));
  CHECK_THAT(error(127, "\1"), Catch::Contains("zeros"));
  CHECK(error(36, "\1") == "nothing was thrown");  // the tokenizer's hash may be anything

  // Every single bit: an `Error` or a file that can be read to its end, never anything else.
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    put_file(path, bytes);
    const std::string message = message_of([&] { all_tokens(TokenFile(path)); });
    const bool harmless = (bit >= 8 * 36 && bit < 8 * 68) || (bit >= 8 * 72 && bit < 8 * 80) ||
                          bit >= 8 * 128 || bit / 8 == 24 || bit / 8 == 25;
    if (!harmless) CHECK_THAT(message, Catch::Contains(path.string()));
  }
}

TEST_CASE("TokenFile: an id outside the vocabulary is refused where it is read") {
  const TemporaryDirectory directory;
  const auto path = write_tokens(directory / "a", {1, 2, 3, 4});
  put_file(path, patched(file_bytes(path), 128 + 4, std::string_view("\0\1", 2)));
  const TokenFile file(path);
  Ids two(2);
  file.read(0, two);
  CHECK(two == Ids{1, 2});
  CHECK_THAT(
      message_of([&] { file.read(1, two); }),
      Catch::Contains("expected ids below 256, found 256 at token 2") && Catch::Contains(path.string()));
  // Four bytes: what is negative as int32 is refused too.
  const auto wide = write_tokens(directory / "b", {1, 2}, {.vocabulary = 70000});
  put_file(wide, patched(file_bytes(wide), 128 + 4, "\xff\xff\xff\xff"));
  CHECK_THAT(message_of([&] { TokenFile(wide).read(0, two); }),
             Catch::Contains("found 4294967295 at token 1"));
}

TEST_CASE("TokenFile: tokens that a file does not have are refused, and its weights are not taken for them") {
  const TemporaryDirectory directory;
  const TokenFile file(write_tokens(directory / "a", {1, 2, 3, 4}, {.weighted = true}));
  CHECK(file.counted() == 4);
  Ids two(2);
  file.read(2, two);
  CHECK(two == Ids{3, 4});
  for (const Index begin : {Index{3}, Index{5}, Index{-1}, std::numeric_limits<Index>::max()}) {
    CHECK_THAT(message_of([&] { file.read(begin, two); }),
               Catch::Contains("there are not 2 tokens from " + std::to_string(begin) + " on; it has 4"));
    CHECK_THAT(message_of([&] { file.counts(begin + (begin == 3 ? 1 : 0)); }),
               Catch::Contains("there are not 1 tokens"));
  }
}

TEST_CASE("TokenFile: a loss weight is 0 or 1") {
  const TemporaryDirectory directory;
  const auto path = write_tokens(directory / "a", {1, 2}, {.weighted = true});
  put_file(path, patched(file_bytes(path), 128 + 4 + 1, "\2"));
  const TokenFile file(path);
  CHECK(file.counts(0));
  CHECK_THAT(message_of([&] { file.counts(1); }), Catch::Contains("0 or 1, found 2 at token 1"));
}

TEST_CASE("TokenFile: belongs to a vocabulary and a tokenizer") {
  const TemporaryDirectory directory;
  const TokenFile bytes(write_tokens(directory / "a", {1}));
  bytes.expect(256);
  Sha256Digest tokenizer{};
  tokenizer[0] = 0xab;
  CHECK_THAT(message_of([&] { bytes.expect(512); }),
             Catch::Contains("vocabulary is 256, the model's is 512"));
  CHECK_THAT(message_of([&] { bytes.expect(256, tokenizer); }),
             Catch::Contains("made with no tokenizer") && Catch::Contains("SHA-256 ab00"));
  TokenFile(write_tokens(directory / "b", {1}, {.tokenizer = tokenizer})).expect(256, tokenizer);
  const TokenFile words(write_tokens(directory / "c", {1}, {.vocabulary = 700, .tokenizer = tokenizer}));
  CHECK_THAT(message_of([&] { words.expect(700); }),
             Catch::Contains("the model has no tokenizer.json; put its tokenizer.json beside"));
  CHECK_THAT(message_of([&] { words.expect(512, tokenizer); }),  // the right tokenizer, for another model
             Catch::Contains("the model's is 512; it was prepared with the tokenizer.json beside the model"));
}

TEST_CASE("TokenFile: knows the bytes of the text whose tokens count") {
  const TemporaryDirectory directory;
  const TokenFile bytes(write_tokens(directory / "bytes", {1, 2, 3}));
  CHECK(bytes.text_bytes() == 3);  // its tokens
  CHECK(bytes.tokens_per_byte() == 1.0);
  const TokenFile unknown(write_tokens(directory / "unknown", {1, 2, 3}, {.vocabulary = 300}));
  CHECK_FALSE(unknown.text_bytes());
  CHECK_FALSE(unknown.tokens_per_byte());
  TokenWriter writer(directory / "known", {.vocabulary = 300, .weighted = true});
  writer.append(std::vector<std::int32_t>{1, 2, 3, 4}, std::vector<std::uint8_t>{0, 1, 1, 0});
  writer.set_text_bytes(8);
  writer.commit();
  const TokenFile known(directory / "known");
  CHECK(known.text_bytes() == 8);
  CHECK(known.tokens_per_byte() == 0.25);
  std::string broken = file_bytes(directory / "known");
  broken[79] = '\xff';
  put_file(directory / "broken", broken);
  CHECK_THAT(message_of([&] { TokenFile(directory / "broken"); }), Catch::Contains("the bytes of its text"));
}

TEST_CASE("TokenFile: the hash is that of the file") {
  const TemporaryDirectory directory;
  const TokenFile file(write_tokens(directory / "a", {1, 2, 3}));
  CHECK(file.sha256() == sha256_file(directory / "a"));
  const TokenFile copy = file;
  CHECK(&copy.sha256() == &file.sha256());
  CHECK(TokenFile(write_tokens(directory / "b", {1, 2, 4})).sha256() != file.sha256());
}

TEST_CASE("TokenWriter: refuses what does not belong in the file, and leaves no half of one") {
  const TemporaryDirectory directory;
  const auto path = directory / "a";
  write_tokens(path, {7});
  {
    TokenWriter writer(path);
    writer.append(Ids{1, 2});
    CHECK_THAT(message_of([&] {
                 writer.append(Ids{3, 256});
               }),
               Catch::Contains("below 256, found 256 at token 3"));
    CHECK_THAT(message_of([&] { writer.append(Ids{-1}); }), Catch::Contains("found -1"));
    CHECK_THAT(message_of([&] { writer.append(Ids{1}, std::vector<std::uint8_t>{1}); }),
               Catch::Contains("no loss weight"));
  }
  {
    TokenWriter writer(path, {.weighted = true});
    CHECK_THAT(message_of([&] {
                 writer.append(Ids{1, 2}, std::vector<std::uint8_t>{1});
               }),
               Catch::Contains("1 weights for 2 tokens"));
    CHECK_THAT(message_of([&] { writer.append(Ids{1}, std::vector<std::uint8_t>{3}); }),
               Catch::Contains("found 3"));
  }
  CHECK(all_tokens(TokenFile(path)) == Ids{7});
  const std::filesystem::directory_iterator files(directory.path());
  CHECK(std::distance(begin(files), end(files)) == 1);
  for (const Index vocabulary : {Index{0}, Index{-5}, Index{1} << 31})
    CHECK_THAT(message_of([&] { TokenWriter(path, {.vocabulary = vocabulary}); }),
               Catch::Contains("vocabulary"));
}

TEST_CASE("token file: one that is cut or changed while it is read is an error, or is known") {
  const TemporaryDirectory directory;
  TokenWriter writer(directory / "w.bin", {.weighted = true});
  writer.append_bytes(std::string(10000, 'x'));
  writer.commit();
  const TokenFile file(directory / "w.bin");
  std::vector<std::int32_t> ids(5000);
  file.read(5000, ids);
  CHECK(std::count(ids.begin(), ids.end(), 'x') == 5000);
  CHECK_FALSE(file.changed());
  std::filesystem::resize_file(directory / "w.bin", 200);  // as `cp other w.bin` does at first
  CHECK(file.changed());
  for (const std::string& said : {message_of([&] { file.read(5000, ids); }),
                                  message_of([&] { file.counts(7); }), message_of([&] { file.sha256(); })})
    CHECK_THAT(said, Catch::Contains("w.bin: there is no byte ") &&
                         Catch::Contains("it had 30128 bytes when it was opened: somebody has cut it"));
}
