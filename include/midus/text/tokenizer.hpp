// A tokenizer: text to tokens and back, as tokenizer.json says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
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
#include "midus/text/text_units.hpp"
#include "midus/text/utf8.hpp"

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
  explicit TextEncoder(const Tokenizer& tokenizer, Unknown unknown = Unknown::error)
      : tokenizer_(&tokenizer), pre_tokenizer_(tokenizer.pre_tokenizer), bpe_(tokenizer.model, unknown) {
    std::vector<AddedToken> raw, normalized;
    for (AddedToken token : tokenizer.added_tokens) {
      if (token.normalized) token.content = tokenizer.normalizer(token.content);
      (token.normalized ? normalized : raw).push_back(std::move(token));
    }
    raw_ = AddedTokenFinder(std::move(raw));
    normalized_ = AddedTokenFinder(std::move(normalized));
  }

  /// The tokens of a text, with the special tokens around it unless they are not wanted. What is no UTF-8 is
  /// read as U+FFFD (`replace_invalid_utf8`). Throws `UnknownCharacter` where a character has no token and
  /// that is an error, and `Error` where a regular expression takes too much work.
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

  /// The tokens of a text with those special tokens around it that it does not spell itself: a chat's text
  /// mostly begins with the begin token.
  std::vector<std::int32_t> document(std::string_view text) {
    std::vector<std::int32_t> ids = (*this)(text, false);
    if (!begins_with(text, tokenizer_->before))
      ids.insert(ids.begin(), tokenizer_->before.begin(), tokenizer_->before.end());
    if (!ends_with(text, tokenizer_->after))
      ids.insert(ids.end(), tokenizer_->after.begin(), tokenizer_->after.end());
    return ids;
  }
  /// Whether a text spells these added tokens at its beginning.
  bool begins_with(std::string_view text, std::span<const std::int32_t> ids) {
    std::string_view near = text.substr(0, 256);
    near.remove_suffix(unfinished_bytes(near));
    const std::vector<std::int32_t> first = spells(near, ids);
    return !first.empty() && std::equal(ids.begin(), ids.end(), first.begin());
  }
  /// Whether a text spells these added tokens at its end.
  bool ends_with(std::string_view text, std::span<const std::int32_t> ids) {
    std::string_view near = text.substr(text.size() - std::min<std::size_t>(text.size(), 256));
    while (!near.empty() && is_inside_character(near[0])) near.remove_prefix(1);
    const std::vector<std::int32_t> last = spells(near, ids);
    return !last.empty() && std::equal(ids.rbegin(), ids.rend(), last.rbegin());
  }

  /// Cuts a long text, which must be UTF-8, into units of about `size` bytes: calls unit(PreTokenizerUnit)
  /// and token(id), for added tokens, in the order of the text. `keep` as in `TextCutter`.
  template <class Keep, class Unit, class Token>
  void cut(std::string_view text, std::size_t size, Keep&& keep, Unit&& unit, Token&& token) const {
    TextCutter cutter(tokenizer_->pre_tokenizer, size, std::ref(keep), std::ref(unit));
    for_parts(
        text, keep, [&](std::string_view part, bool at_start) { cutter(0, part, at_start); }, token);
  }
  /// Appends the tokens of a unit as the pre-tokenizer's call operator finds its pieces, and returns the
  /// same.
  std::optional<std::size_t> append(const PreTokenizerUnit& unit, std::size_t from, std::size_t stop,
                                    std::vector<std::int32_t>& ids) {
    return pre_tokenizer_(unit, from, stop, [&](std::string_view piece) { bpe_(piece, ids); });
  }

  /// Characters without a token so far, left out or replaced.
  Index unknown() const { return bpe_.unknown(); }

 private:
  void append(std::string_view text, std::vector<std::int32_t>& ids) {
    std::string normalized;
    for_parts(
        text, [&](std::string part) -> std::string_view { return normalized = std::move(part); },
        [&](std::string_view part, bool at_start) {
          pre_tokenizer_(part, at_start, [&](std::string_view piece) { bpe_(piece, ids); });
        },
        [&](std::int32_t id) { ids.push_back(id); });
  }

  /// The tokens of a text, where they may hold `ids`; else none.
  std::vector<std::int32_t> spells(std::string_view text, std::span<const std::int32_t> ids) {
    for (const std::int32_t id : ids) {
      const auto& added = tokenizer_->added_tokens;
      const auto found =
          std::find_if(added.begin(), added.end(), [&](const AddedToken& token) { return token.id == id; });
      if (found == added.end() || (!found->normalized && text.find(found->content) == text.npos)) return {};
    }
    if (ids.empty()) return {};
    try {
      std::vector<std::int32_t> all = (*this)(text, false);
      if (all.size() < ids.size()) all.clear();
      return all;
    } catch (const UnknownCharacter&) {  // who encodes the whole text will say so
      return {};
    }
  }

  /// Calls part(text, whether the whole one begins there), normalised, and token(id) for the added tokens
  /// between parts. `keep(std::string)` returns a view of a normalised part.
  template <class Keep, class Part, class Token>
  void for_parts(std::string_view text, Keep&& keep, Part&& part, Token&& token) const {
    const auto found = [&](const AddedToken& added) { token(added.id); };
    raw_.split(
        text,
        [&](std::size_t begin, std::size_t end) {
          std::string_view between = text.substr(begin, end - begin);
          if (!tokenizer_->normalizer.steps.empty()) between = keep(tokenizer_->normalizer(between));
          normalized_.split(
              between,
              [&](std::size_t from, std::size_t to) {
                part(between.substr(from, to - from), begin == 0 && from == 0);
              },
              found);
        },
        found);
  }

  const Tokenizer* tokenizer_;
  PreTokenizer pre_tokenizer_;
  BpeEncoder bpe_;
  AddedTokenFinder raw_, normalized_;
};

/// Decodes tokens as they come: `push` returns what no later token can change, never a part of a character,
/// and `finish` the rest. All of it together is what `decode` gives. The tokenizer must outlive it.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : tokenizer_(&tokenizer),
        skip_special_tokens_(skip_special_tokens),
        stream_(tokenizer.decoder, all_of_bytes(tokenizer)) {}

  std::string push(std::int32_t id) {
    std::string text;
    for (const std::string& token : tokenizer_->spelled({&id, 1}, skip_special_tokens_))
      text += stream_.push(token);
    return text;
  }
  std::string finish() { return stream_.finish(); }

 private:
  static bool all_of_bytes(const Tokenizer& tokenizer) {
    return std::all_of(tokenizer.tokens.begin(), tokenizer.tokens.end(),
                       [](const auto& token) { return !token || from_byte_characters(*token); });
  }

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  DecoderStream stream_;
};

}  // namespace midus
