// Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909): the pieces of a text as tokens of a
// vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/text/byte_level.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// Looks up std::string keys by std::string_view.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <class Value>
using TextMap = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

/// Two tokens that become one.
struct BpeMerge {
  std::int32_t left, right, merged;
};

/// The model of a tokenizer.json of type BPE. In a byte-level vocabulary the tokens here are bytes, not the
/// characters that stand for them.
struct BpeModel {
  TextMap<std::int32_t> vocabulary;
  std::vector<BpeMerge> merges;  ///< the first ones come first
  bool byte_level = false;       ///< symbols begin as bytes, else as characters
  bool ignore_merges = false;    ///< a piece that is a token is that token
  bool byte_fallback = false;    ///< a character that is no token becomes tokens <0x00> ... <0xFF>
  bool fuse_unk = false;         ///< unknown characters beside one another are one unknown token
  std::int32_t unk = -1;         ///< negative: an unknown character is an error
};

/// What becomes of a character that has no token, where the vocabulary has no token for the unknown either:
/// an `UnknownCharacter`; it is left out, as `tokenizers` does (of a byte-level vocabulary only the bytes
/// that have none); or U+FFFD stands in its place.
enum class Unknown { error, drop, replace };

/// A text holds a character that has no token.
class UnknownCharacter : public Error {
 public:
  using Error::Error;
};

/// Merges with the lowest rank first, from left to right: with memory of its own, one per thread.
class BpeEncoder {
 public:
  /// Throws `Error` where U+FFFD is wanted and has no token.
  explicit BpeEncoder(const BpeModel& model, Unknown unknown = Unknown::error)
      : model_(&model), unknown_(unknown) {
    ranks_.reserve(2 * model.merges.size());
    for (std::size_t rank = 0; rank < model.merges.size(); ++rank) {
      const BpeMerge& merge = model.merges[rank];
      ranks_[key(merge.left, merge.right)] = {static_cast<std::int32_t>(rank),
                                              merge.merged};  // the last one counts
    }
    if (model.byte_level)
      for (int byte = 0; byte < 256; ++byte) {
        const auto found = model.vocabulary.find(std::string_view(std::string(1, static_cast<char>(byte))));
        bytes_[byte] = found == model.vocabulary.end() ? -1 : found->second;
      }
    if (unknown == Unknown::replace && model.unk < 0) {
      unknown_ = Unknown::error;  // it must be known itself
      try {
        begin("\xef\xbf\xbd");
      } catch (const UnknownCharacter& error) {
        fail("unknown characters cannot be replaced: ", error.what());
      }
      for (const Symbol& symbol : symbols_) replacement_.push_back(symbol.token);
      unknown_ = unknown;
    }
  }

  /// Characters without a token so far that were left out or replaced.
  Index unknown() const { return unknown_count_; }

  /// Appends the tokens of a piece. Throws `UnknownCharacter` where a character is unknown, there is no token
  /// for that, and it is an error.
  void operator()(std::string_view piece, std::vector<std::int32_t>& out) {
    if (piece.empty()) return;
    if (const auto known = cache_.find(piece); known != cache_.end()) {
      out.insert(out.end(), known->second.begin(), known->second.end());
      return;
    }
    const std::size_t before = out.size();
    const Index unknown_before = unknown_count_;
    if (const auto whole = model_->vocabulary.find(piece);
        model_->ignore_merges && whole != model_->vocabulary.end())
      out.push_back(whole->second);
    else
      encode(piece, out);
    constexpr std::size_t longest = 64, most = std::size_t{1} << 17;
    if (piece.size() > longest || unknown_count_ > unknown_before) return;
    if (cache_.size() == most) cache_.clear();
    cache_.emplace(piece, std::vector(out.begin() + static_cast<std::ptrdiff_t>(before), out.end()));
  }

 private:
  struct Ranked {
    std::int32_t rank, merged;
  };
  struct Symbol {
    std::int32_t token, before, after;  // neighbours; -1: none
    bool gone = false;
  };
  struct Candidate {
    std::int32_t rank, at, merged;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };

  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  const Ranked* merge_of(std::int32_t left, std::int32_t right) const {
    const auto found = ranks_.find(key(left, right));
    return found == ranks_.end() ? nullptr : &found->second;
  }

  void add(std::int32_t token) {
    const auto at = static_cast<std::int32_t>(symbols_.size());
    if (at > 0) symbols_.back().after = at;
    symbols_.push_back({token, at - 1, -1});
  }

  /// `part` of a character, or all of it, has no token. Whether the symbols for the character are complete.
  bool unknown(std::string_view part, std::string_view character, std::size_t symbols_before) {
    if (unknown_ == Unknown::error) {
      char byte[8];
      std::snprintf(byte, sizeof byte, "0x%02X", static_cast<unsigned>(static_cast<unsigned char>(part[0])));
      const std::string what = model_->byte_level
                                   ? text("the byte ", byte, " (in ", in_quotes(character), ")")
                                   : in_quotes(character);
      throw UnknownCharacter(text("the vocabulary has no token for ", what,
                                  ", and the tokenizer has no unk_token for what it does not know"));
    }
    ++unknown_count_;
    if (unknown_ == Unknown::drop) return false;
    symbols_.resize(symbols_before);
    if (!symbols_.empty()) symbols_.back().after = -1;
    for (const std::int32_t token : replacement_) add(token);
    return true;
  }

  void begin(std::string_view piece) {
    symbols_.clear();
    const bool has_unk = model_->unk >= 0;
    bool waiting =
        false;  // an unknown token, until one that is known or the end; tokens of bytes go before it
    while (!piece.empty()) {
      const std::string_view character = piece.substr(0, first_character(piece).bytes);
      piece.remove_prefix(character.size());
      const std::size_t symbols_before = symbols_.size(), step = model_->byte_level ? 1 : character.size();
      for (std::size_t at = 0; at < character.size(); at += step) {
        const std::string_view part = character.substr(at, step);
        const std::int32_t known = token_of(part);
        if (known >= 0) {
          if (std::exchange(waiting, false)) add(model_->unk);
          add(known);
        } else if (!(model_->byte_fallback && add_bytes(part))) {
          if (!has_unk && unknown(part, character, symbols_before)) break;
          if (has_unk && std::exchange(waiting, true) && !model_->fuse_unk) add(model_->unk);
        }
      }
    }
    if (waiting) add(model_->unk);
  }
  std::int32_t token_of(std::string_view symbol) const {
    if (model_->byte_level) return bytes_[static_cast<unsigned char>(symbol[0])];
    const auto known = model_->vocabulary.find(symbol);
    return known == model_->vocabulary.end() ? -1 : known->second;
  }
  /// False, and nothing added, where a byte has no token. In a byte-level vocabulary they are, as in
  /// `tokenizers`, the bytes of the character that stands for a byte.
  bool add_bytes(std::string_view symbol) {
    std::vector<std::int32_t> tokens;
    for (const char c : model_->byte_level ? to_byte_characters(symbol) : std::string(symbol)) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(static_cast<unsigned char>(c)));
      const auto known = model_->vocabulary.find(std::string_view(name));
      if (known == model_->vocabulary.end()) return false;
      tokens.push_back(known->second);
    }
    for (const std::int32_t token : tokens) add(token);
    return true;
  }

  void propose(std::int32_t at) {
    const Symbol& symbol = symbols_[static_cast<std::size_t>(at)];
    if (symbol.after < 0) return;
    if (const Ranked* const merge =
            merge_of(symbol.token, symbols_[static_cast<std::size_t>(symbol.after)].token))
      candidates_.push({merge->rank, at, merge->merged});
  }

  void encode(std::string_view piece, std::vector<std::int32_t>& out) {
    begin(piece);
    for (std::size_t i = 0; i + 1 < symbols_.size(); ++i) propose(static_cast<std::int32_t>(i));
    while (!candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      Symbol& left = symbols_[static_cast<std::size_t>(best.at)];
      if (left.gone || left.after < 0) continue;
      Symbol& right = symbols_[static_cast<std::size_t>(left.after)];
      const Ranked* const merge = merge_of(left.token, right.token);
      if (merge == nullptr || merge->merged != best.merged) continue;  // one of the two has been merged since
      left.token = best.merged;
      left.after = right.after;
      right.gone = true;
      if (left.after >= 0) symbols_[static_cast<std::size_t>(left.after)].before = best.at;
      if (left.before >= 0) propose(left.before);
      propose(best.at);
    }
    for (const Symbol& symbol : symbols_)
      if (!symbol.gone) out.push_back(symbol.token);
  }

  const BpeModel* model_;
  Unknown unknown_;
  std::vector<std::int32_t> replacement_;
  Index unknown_count_ = 0;
  std::unordered_map<std::uint64_t, Ranked> ranks_;
  std::int32_t bytes_[256];
  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates_;
  TextMap<std::vector<std::int32_t>> cache_;
};

}  // namespace midus
