// A tokenizer: text to tokens and back, as tokenizer.json says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/shape.hpp"
#include "midus/text/added_tokens.hpp"
#include "midus/text/bpe.hpp"
#include "midus/text/decoder.hpp"
#include "midus/text/normalizer.hpp"
#include "midus/text/pre_tokenizer.hpp"

namespace midus {

/// What tokenizer.json says, read by `read_tokenizer` (tokenizer_reader.hpp). Encode with a `TextEncoder`.
struct Tokenizer {
  std::string file;  ///< named in errors
  BpeModel model;
  std::vector<AddedToken> added_tokens;
  Normalizer normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  Decoder decoder;
  std::vector<std::int32_t> before, after;  ///< special tokens around a text
  std::vector<std::optional<std::string>>
      tokens;                 ///< by id, as tokenizer.json spells them; ids may be left out
  std::vector<bool> special;  ///< by id: left out by decode, unless it is asked for
  std::vector<std::string> warnings;

  /// Ids are below it.
  Index vocab_size() const { return static_cast<Index>(tokens.size()); }

  /// Throws `Error` unless every id lies below a model's vocabulary.
  void expect_to_fit(Index vocabulary) const {
    if (vocab_size() > vocabulary)
      fail(file, " has ids up to ", vocab_size() - 1, ", the model a vocabulary of ", vocabulary,
           ": they do not belong together");
  }

  /// The id of a token as tokenizer.json spells it, such as "<|end_of_text|>".
  std::optional<std::int32_t> id_of(std::string_view token) const {
    const auto added = std::find_if(added_tokens.begin(), added_tokens.end(),
                                    [&](const AddedToken& each) { return each.content == token; });
    if (added != added_tokens.end()) return added->id;
    const auto found = std::find(tokens.begin(), tokens.end(), token);
    if (found == tokens.end()) return std::nullopt;
    return static_cast<std::int32_t>(found - tokens.begin());
  }

  bool is_special(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < special.size() && special[static_cast<std::size_t>(id)];
  }

  /// The texts of those ids that are tokens, as tokenizer.json spells them.
  std::vector<std::string> spelled(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
    std::vector<std::string> out;
    for (const std::int32_t id : ids)
      if (id >= 0 && id < vocab_size() && tokens[static_cast<std::size_t>(id)] &&
          !(skip_special_tokens && is_special(id)))
        out.push_back(*tokens[static_cast<std::size_t>(id)]);
    return out;
  }

  /// The text of tokens. Bytes that are no UTF-8 become U+FFFD.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const {
    return decoder(spelled(ids, skip_special_tokens));
  }
};

/// Encodes texts, with memory of its own: one per thread. The tokenizer must outlive it.
class TextEncoder {
 public:
  explicit TextEncoder(const Tokenizer& tokenizer)
      : tokenizer_(&tokenizer), pre_tokenizer_(tokenizer.pre_tokenizer), bpe_(tokenizer.model) {
    std::vector<AddedToken> raw, normalized;
    for (AddedToken token : tokenizer.added_tokens) {
      if (token.normalized) token.content = tokenizer.normalizer(token.content);
      (token.normalized ? normalized : raw).push_back(std::move(token));
    }
    raw_ = AddedTokenFinder(std::move(raw));
    normalized_ = AddedTokenFinder(std::move(normalized));
  }

  /// The tokens of a text, with the special tokens around it unless they are not wanted. What is no UTF-8 is
  /// read as U+FFFD (`replace_invalid_utf8`). Throws `Error` where a character has no token, or a regular
  /// expression takes too much work.
  std::vector<std::int32_t> operator()(std::string_view text, bool add_special_tokens = true) {
    std::vector<std::int32_t> ids;
    if (add_special_tokens) ids = tokenizer_->before;
    if (is_utf8(text))
      append(text, ids);
    else
      append(replace_invalid_utf8(text), ids);
    if (add_special_tokens) ids.insert(ids.end(), tokenizer_->after.begin(), tokenizer_->after.end());
    return ids;
  }

 private:
  void append(std::string_view text, std::vector<std::int32_t>& ids) {
    const auto token = [&](const AddedToken& added) { ids.push_back(added.id); };
    raw_.split(
        text,
        [&](std::size_t begin, std::size_t end) {
          const std::string_view part = text.substr(begin, end - begin);
          if (tokenizer_->normalizer.steps.empty()) return append_normalized(part, begin == 0, ids);
          append_normalized(tokenizer_->normalizer(part), begin == 0, ids);
        },
        token);
  }
  void append_normalized(std::string_view text, bool at_start, std::vector<std::int32_t>& ids) {
    normalized_.split(
        text,
        [&](std::size_t begin, std::size_t end) {
          pre_tokenizer_(text.substr(begin, end - begin), at_start && begin == 0,
                         [&](std::string_view piece) { bpe_(piece, ids); });
        },
        [&](const AddedToken& added) { ids.push_back(added.id); });
  }

  const Tokenizer* tokenizer_;
  PreTokenizer pre_tokenizer_;
  BpeEncoder bpe_;
  AddedTokenFinder raw_, normalized_;
};

/// Decodes tokens as they come: `push` returns what has become certain, never a part of a character, and
/// `finish` the rest. All of it together is what `decode` gives. The tokenizer must outlive it.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : tokenizer_(&tokenizer),
        skip_special_tokens_(skip_special_tokens),
        byte_level_(tokenizer.decoder.steps.size() == 1 &&
                    std::holds_alternative<ByteLevelDecode>(tokenizer.decoder.steps[0])) {}

  std::string push(std::int32_t id) {
    for (const std::string& token : tokenizer_->spelled({&id, 1}, skip_special_tokens_)) {
      if (byte_level_)
        bytes_ += Decoder::byte_level_bytes(token);
      else
        tokens_.push_back(token);
    }
    if (byte_level_) {
      const std::size_t certain = bytes_.size() - unfinished_bytes(bytes_);
      const std::string text = replace_invalid_utf8(std::string_view(bytes_).substr(0, certain));
      bytes_.erase(0, certain);
      return text;
    }
    // A run of byte tokens is text, or not, as a whole: wait for its end.
    if (tokens_.empty() || Decoder::fallback_byte(tokens_.back())) return {};
    return rest();
  }

  std::string finish() {
    if (!byte_level_) return rest();
    return replace_invalid_utf8(std::exchange(bytes_, {}));
  }

 private:
  std::string rest() {
    const std::string text = tokenizer_->decoder(tokens_);
    const std::string more = text.substr(std::min(said_, text.size()));
    said_ = std::max(said_, text.size());
    return more;
  }

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_, byte_level_;
  std::string bytes_;                // byte-level: of a character that is not complete
  std::vector<std::string> tokens_;  // else: all so far
  std::size_t said_ = 0;
};

}  // namespace midus
