// A text as token ids, in a file.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/io/sha256.hpp"

namespace midus {

/// The first 128 bytes of a token file, all little-endian:
///
///      0  "MIDUSTOK"             24  u64 vocabulary: every id lies below it
///      8  u32 version, 1         32  u32 flags; 1: loss weights follow the tokens
///     12  u32 bytes per token    36  SHA-256 of tokenizer.json, 32 bytes; zero: the tokens are bytes
///     16  u64 number of tokens   72  u64 bytes of the text whose tokens count; zero: not known
///                                68, 80  zero
///
/// Then the tokens (2 bytes each up to a vocabulary of 65,536, else 4), then with flag 1 a byte of loss
/// weight per token, 0 or 1: a token of weight 0 is read and not learned.
struct TokenFileHeader {
  static constexpr std::size_t size = 128;
  static constexpr std::string_view magic = "MIDUSTOK";
  static constexpr std::uint32_t version = 1, weighted_flag = 1;

  Index tokens = 0;
  Index vocabulary = 0;
  bool weighted = false;
  Sha256Digest tokenizer{};  ///< zero: bytes
  Index text_bytes = 0;      ///< of the text whose tokens count; 0: not known

  bool operator==(const TokenFileHeader&) const = default;

  /// 2 or 4.
  Index bytes_per_token() const { return vocabulary <= 65536 ? 2 : 4; }
  /// Of the whole file, in bytes.
  Index file_size() const {
    return static_cast<Index>(size) + tokens * (bytes_per_token() + (weighted ? 1 : 0));
  }

  std::array<std::byte, size> to_bytes() const {
    std::array<std::byte, size> bytes{};
    std::memcpy(bytes.data(), magic.data(), magic.size());
    put(bytes, 8, version, 4);
    put(bytes, 12, static_cast<std::uint64_t>(bytes_per_token()), 4);
    put(bytes, 16, static_cast<std::uint64_t>(tokens), 8);
    put(bytes, 24, static_cast<std::uint64_t>(vocabulary), 8);
    put(bytes, 32, weighted ? weighted_flag : 0, 4);
    std::memcpy(bytes.data() + 36, tokenizer.data(), tokenizer.size());
    put(bytes, 72, static_cast<std::uint64_t>(text_bytes), 8);
    return bytes;
  }

  /// Reads and checks the header of `file`, the file's length included.
  static TokenFileHeader from(const MappedFile& file) {
    const std::span<const std::byte> bytes = file.bytes();
    const auto refuse = [&](const auto&... parts) {
      fail("token file ", file.path().string(), ": ", parts...);
    };
    if (bytes.size() < size) refuse("expected a header of ", size, " bytes, found a file of ", bytes.size());
    if (std::memcmp(bytes.data(), magic.data(), magic.size()) != 0)
      refuse("expected it to begin with ", magic,
             "; it is not a token file (`prepare` writes one from text)");
    const std::uint64_t found_version = get(bytes, 8, 4), width = get(bytes, 12, 4),
                        tokens = get(bytes, 16, 8), vocabulary = get(bytes, 24, 8), flags = get(bytes, 32, 4);
    if (found_version != version) refuse("expected version ", version, ", found ", found_version);
    if (vocabulary < 1 || vocabulary > std::numeric_limits<std::int32_t>::max())
      refuse("expected a vocabulary of 1 to ", std::numeric_limits<std::int32_t>::max(), ", found ",
             vocabulary);
    TokenFileHeader header;
    header.vocabulary = static_cast<Index>(vocabulary);
    if (width != static_cast<std::uint64_t>(header.bytes_per_token()))
      refuse("expected ", header.bytes_per_token(), " bytes per token for a vocabulary of ", vocabulary,
             ", found ", width);
    if ((flags & ~std::uint64_t{weighted_flag}) != 0) refuse("expected flags 0 or 1, found ", flags);
    header.weighted = flags == weighted_flag;
    std::memcpy(header.tokenizer.data(), bytes.data() + 36, header.tokenizer.size());
    const auto zero = [](std::byte b) { return b == std::byte{0}; };
    if (!std::all_of(bytes.begin() + 68, bytes.begin() + 72, zero) ||
        !std::all_of(bytes.begin() + 80, bytes.begin() + size, zero))
      refuse("expected zeros in bytes 68 to 71 and 80 to 127 of the header");
    const std::uint64_t text_bytes = get(bytes, 72, 8);
    if (text_bytes > static_cast<std::uint64_t>(std::numeric_limits<Index>::max()))
      refuse("expected the bytes of its text, found ", text_bytes);
    header.text_bytes = static_cast<Index>(text_bytes);
    // A count that the file cannot hold is refused before it is multiplied.
    if (tokens > bytes.size())
      refuse("the header says ", tokens, " tokens, the file has ", bytes.size(), " bytes");
    header.tokens = static_cast<Index>(tokens);
    if (static_cast<std::uint64_t>(header.file_size()) != bytes.size())
      refuse("expected ", header.file_size(), " bytes (", size, " of header and ", tokens, " tokens of ",
             width, " bytes", header.weighted ? ", each with a loss weight" : "", "), found ", bytes.size());
    return header;
  }

 private:
  static void put(std::span<std::byte> bytes, std::size_t at, std::uint64_t value, int width) {
    for (int i = 0; i < width; ++i)
      bytes[at + static_cast<std::size_t>(i)] = static_cast<std::byte>(value >> 8 * i);
  }
  static std::uint64_t get(std::span<const std::byte> bytes, std::size_t at, int width) {
    std::uint64_t value = 0;
    for (int i = 0; i < width; ++i)
      value |= static_cast<std::uint64_t>(bytes[at + static_cast<std::size_t>(i)]) << 8 * i;
    return value;
  }
};

/// A token file: opening reads the header alone, and copies share one descriptor. An id is checked when it is
/// read, before anything can use it as an index; a file that was cut meanwhile is an error.
class TokenFile {
 public:
  TokenFile(const std::filesystem::path& path) : contents_(std::make_shared<Contents>(path)) {}
  TokenFile(const char* path) : TokenFile(std::filesystem::path(path)) {}

  const std::filesystem::path& path() const { return contents_->file.path(); }
  const TokenFileHeader& header() const { return contents_->header; }
  Index size() const { return header().tokens; }
  Index vocabulary() const { return header().vocabulary; }
  bool weighted() const { return header().weighted; }

  /// The tokens that count.
  Index counted() const {
    if (!weighted()) return size();
    Index counted = 0;
    std::array<std::uint8_t, 4096> weights;
    for (Index i = 0; i < size(); i += static_cast<Index>(weights.size())) {
      const auto part = std::span(weights).first(
          static_cast<std::size_t>(std::min(size() - i, static_cast<Index>(weights.size()))));
      read_weights(i, part);
      counted += std::count(part.begin(), part.end(), 1);
    }
    return counted;
  }
  /// Bytes of the text whose tokens count; nothing where the file does not know.
  std::optional<Index> text_bytes() const {
    if (header().text_bytes > 0) return header().text_bytes;
    return tokens_are_bytes() ? std::optional<Index>(size()) : std::nullopt;
  }
  /// Whether every byte of the text is a token that counts.
  bool tokens_are_bytes() const {
    return vocabulary() == 256 && !weighted() && header().tokenizer == Sha256Digest{};
  }
  /// Tokens that count, for each byte of their text: bits per byte are bits per token times this. Nothing
  /// where the file does not know its text's bytes.
  std::optional<double> tokens_per_byte() const {
    const std::optional<Index> bytes = text_bytes();
    if (!bytes || *bytes == 0) return std::nullopt;
    return static_cast<double>(counted()) / static_cast<double>(*bytes);
  }

  /// Throws `Error` unless the tokens are those of a model with this vocabulary and tokenizer.
  void expect(Index vocabulary, const Sha256Digest& tokenizer = {}) const {
    if (header().vocabulary != vocabulary)
      fail("token file ", path().string(), ": its vocabulary is ", header().vocabulary, ", the model's is ",
           vocabulary,
           header().tokenizer == tokenizer && tokenizer != Sha256Digest{}
               ? "; it was prepared with the tokenizer.json beside the model, which has more tokens than the "
                 "model: put "
                 "the one there that the model was trained with"
               : "; prepare it with the model's tokenizer");
    if (header().tokenizer != tokenizer)
      fail("token file ", path().string(), ": it was made with ", tokenizer_text(header().tokenizer),
           ", the model has ", tokenizer_text(tokenizer),
           tokenizer == Sha256Digest{} && vocabulary != 256
               ? "; put its tokenizer.json beside its config.json"
               : "; prepare it with the model's tokenizer (one that transformers saved again is another)");
  }

  /// Tokens begin, begin + 1, ..., as many as `ids` holds.
  void read(Index begin, std::span<std::int32_t> ids) const {
    require(begin, ids.size());
    const auto width = static_cast<std::size_t>(header().bytes_per_token());
    std::array<std::byte, 4096> part;
    for (std::size_t i = 0; i < ids.size();) {
      const auto now = ids.subspan(i, std::min(ids.size() - i, part.size() / width));
      contents_->file.read(TokenFileHeader::size + (static_cast<std::size_t>(begin) + i) * width,
                           std::span(part).first(now.size() * width));
      if (width == 2)
        decode<std::uint16_t>(part.data(), now);
      else
        decode<std::uint32_t>(part.data(), now);
      i += now.size();
    }
    for (const std::int32_t& each : ids)
      if (const auto id = static_cast<std::uint32_t>(each); id >= static_cast<std::uint64_t>(vocabulary()))
        fail("token file ", path().string(), ": expected ids below ", vocabulary(), ", found ", id,
             " at token ", begin + (&each - ids.data()));
  }

  /// Loss weights of tokens begin, begin + 1, ..., as many as there is room for: 1 where the loss counts,
  /// else 0.
  void read_weights(Index begin, std::span<std::uint8_t> weights) const {
    require(begin, weights.size());
    std::fill(weights.begin(), weights.end(), std::uint8_t{1});
    if (!weighted()) return;
    contents_->file.read(
        TokenFileHeader::size + static_cast<std::size_t>(size() * header().bytes_per_token() + begin),
        std::as_writable_bytes(weights));
    for (const std::uint8_t& weight : weights)
      if (weight > 1)
        fail("token file ", path().string(), ": expected a loss weight of 0 or 1, found ", int{weight},
             " at token ", begin + (&weight - weights.data()));
  }
  /// Whether the loss at a token counts.
  bool counts(Index token) const {
    std::uint8_t weight = 1;
    read_weights(token, {&weight, 1});
    return weight == 1;
  }

  /// Whether somebody has written to the file since it was opened.
  bool changed() const { return contents_->file.changed(); }

  /// SHA-256 of the whole file, reckoned once per opened file: how a resumed run knows its data again.
  const Sha256Digest& sha256() const {
    std::call_once(contents_->hashed, [&] {
      Sha256 hash;
      std::vector<std::byte> part(std::size_t{1} << 20);
      for (std::size_t at = 0; at < contents_->file.size(); at += part.size()) {
        part.resize(std::min(part.size(), contents_->file.size() - at));
        contents_->file.read(at, part);
        hash.update(part);
      }
      contents_->hash = hash.digest();
    });
    return contents_->hash;
  }

 private:
  struct Contents {
    explicit Contents(const std::filesystem::path& path)
        : file(path), header(TokenFileHeader::from(MappedFile(file))) {}
    OpenFile file;
    TokenFileHeader header;
    std::once_flag hashed;
    Sha256Digest hash{};
  };

  void require(Index begin, std::size_t count) const {
    if (begin < 0 || begin > size() || count > static_cast<std::size_t>(size() - begin))
      fail("token file ", path().string(), ": there are not ", count, " tokens from ", begin, " on; it has ",
           size());
  }

  template <class Word>
  static void decode(const std::byte* from, std::span<std::int32_t> ids) {
    for (std::int32_t& id : ids) {
      Word word = 0;
      for (std::size_t i = 0; i < sizeof word; ++i)
        word = static_cast<Word>(word | std::to_integer<Word>(from[i]) << 8 * i);
      from += sizeof word;
      id = static_cast<std::int32_t>(word);
    }
  }
  std::string tokenizer_text(const Sha256Digest& digest) const {
    if (digest != Sha256Digest{}) return "the tokenizer with SHA-256 " + to_hex(digest);
    return vocabulary() == 256 ? "no tokenizer (its tokens are bytes)" : "no tokenizer.json";
  }

  std::shared_ptr<Contents> contents_;
};

/// What a token file is written for.
struct TokenFileOptions {
  Index vocabulary = 256;
  Sha256Digest tokenizer{};  ///< of tokenizer.json; zero: bytes
  bool weighted = false;     ///< every token comes with a loss weight
};

/// Writes a token file as the tokens come, in constant memory (with loss weights: a bit per token), and puts
/// it in the place of an old one in `commit()`: there is never half a file.
class TokenWriter {
 public:
  explicit TokenWriter(std::filesystem::path target, const TokenFileOptions& options = {})
      : file_(std::move(target)) {
    if (options.vocabulary < 1 || options.vocabulary > std::numeric_limits<std::int32_t>::max())
      fail("token file ", file_.target().string(), ": expected a vocabulary of 1 to ",
           std::numeric_limits<std::int32_t>::max(), ", found ", options.vocabulary);
    header_.vocabulary = options.vocabulary;
    header_.weighted = options.weighted;
    header_.tokenizer = options.tokenizer;
    buffer_.resize(TokenFileHeader::size);  // the place of the header, which comes last
  }

  /// Tokens written so far.
  Index size() const { return header_.tokens; }

  /// Appends ids, in a weighted file with weight 1.
  void append(std::span<const std::int32_t> ids) {
    for (const std::int32_t id : ids) put(id, true);
  }
  /// Appends ids with their weights, 0 or 1.
  void append(std::span<const std::int32_t> ids, std::span<const std::uint8_t> weights) {
    if (!header_.weighted || ids.size() != weights.size())
      fail("token file ", file_.target().string(), ": expected ", header_.weighted ? "one" : "no",
           " loss weight per token, found ", weights.size(), " weights for ", ids.size(), " tokens");
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (weights[i] > 1)
        fail("token file ", file_.target().string(), ": expected a loss weight of 0 or 1, found ",
             int{weights[i]}, " at token ", size());
      put(ids[i], weights[i] == 1);
    }
  }
  /// Appends every byte of a text as a token.
  void append_bytes(std::string_view bytes) {
    for (const char c : bytes) put(static_cast<unsigned char>(c), true);
  }

  /// Says how many bytes the text has whose tokens count; 0: not known, or they are the tokens.
  void set_text_bytes(Index bytes) { header_.text_bytes = bytes; }

  /// Completes the file and puts it in its place.
  void commit() {
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      buffer_.push_back(static_cast<std::byte>(weights_[i] ? 1 : 0));
      flush_if_full();
    }
    file_.write(buffer_);
    file_.write_at(0, header_.to_bytes());
    file_.commit();
  }

 private:
  void put(std::int32_t id, bool counts) {
    if (id < 0 || id >= header_.vocabulary)
      fail("token file ", file_.target().string(), ": expected ids below ", header_.vocabulary, ", found ",
           id, " at token ", size());
    const auto word = static_cast<std::uint32_t>(id);
    for (Index i = 0; i < header_.bytes_per_token(); ++i)
      buffer_.push_back(static_cast<std::byte>(word >> 8 * i));
    if (header_.weighted) weights_.push_back(counts);
    ++header_.tokens;
    flush_if_full();
  }
  void flush_if_full() {
    if (buffer_.size() < (std::size_t{1} << 18)) return;
    file_.write(buffer_);
    buffer_.clear();
  }

  AtomicFile file_;
  TokenFileHeader header_;
  std::vector<std::byte> buffer_;
  std::vector<bool> weights_;
};

}  // namespace midus
