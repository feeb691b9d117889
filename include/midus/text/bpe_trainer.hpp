// Makes a byte-level BPE vocabulary from text (Sennrich et al. 2016, arXiv 1508.07909).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"
#include "midus/text/bpe.hpp"
#include "midus/text/byte_level.hpp"
#include "midus/text/pre_tokenizer.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

struct BpeTraining {
  Index vocab_size = 8192;  ///< special tokens, the 256 bytes, and one token for each merge
  std::vector<std::string> special_tokens{"<|endoftext|>"};  ///< the first ids are theirs
  Index min_frequency = 2;                                   ///< a pair that is rarer is not merged
};

/// Counts the pieces of texts, then merges the most frequent pair of neighbours again and again; of equally
/// frequent ones the pair with the lower ids.
class BpeTrainer {
 public:
  explicit BpeTrainer(const BpeTraining& options = {}) : options_(options) {
    const auto least = static_cast<Index>(options.special_tokens.size()) + 256;
    if (options.vocab_size < least || options.vocab_size > (Index{1} << 24))
      fail("a vocabulary must have from ", least, " (the bytes and ", options.special_tokens.size(),
           " special tokens) to 2^24 tokens, but is to have ", options.vocab_size);
    const auto& bytes = byte_characters();
    std::set<std::string> known;
    for (const std::string& special : options.special_tokens) {
      if (special.empty()) fail("a special token is empty; give each at least one character");
      const Utf8Character first = first_character(special);
      if (first.bytes == special.size() && std::find(bytes.begin(), bytes.end(), first.value) != bytes.end())
        fail("the special token ", in_quotes(special),
             " is how a byte is spelled; give it a name such as <|endoftext|>");
      if (!known.insert(special).second) fail("the special token ", in_quotes(special), " is given twice");
    }
  }

  /// Counts the pieces of a text; it should be cut between lines.
  void add(std::string_view text) {
    const auto count = [&](std::string_view piece) {
      const auto known = counts_.find(piece);
      known != counts_.end() ? ++known->second : counts_.emplace(piece, 1).first->second;
    };
    if (is_utf8(text))
      pre_tokenizer_(text, true, count);
    else
      pre_tokenizer_(replace_invalid_utf8(text), true, count);
  }

  /// The tokenizer.json. Stops early where no pair is frequent enough. `progress(tokens so far)` is called
  /// after every merge.
  template <class Progress>
  Json train(Progress&& progress) {
    begin();
    std::vector<std::pair<std::int32_t, std::int32_t>> merges;
    while (static_cast<Index>(tokens_.size()) < options_.vocab_size && !queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const Index now = pairs_[best.pair].count;
      if (now != best.count) {  // out of date
        if (now > 0) queue_.push({now, best.pair});
        continue;
      }
      if (now < std::max<Index>(1, options_.min_frequency)) break;
      const auto [left, right] = best.pair;
      // "ab" + "c" and "a" + "bc" are one token.
      const std::int32_t merged =
          add_token(tokens_[static_cast<std::size_t>(left)] + tokens_[static_cast<std::size_t>(right)]);
      merges.push_back(best.pair);
      merge(best.pair, merged);
      progress(static_cast<Index>(tokens_.size()));
    }
    return json(merges);
  }
  Json train() {
    return train([](Index) {});
  }

 private:
  using Pair = std::pair<std::int32_t, std::int32_t>;
  struct PairHash {
    std::size_t operator()(const Pair& pair) const {
      return std::hash<std::uint64_t>()(static_cast<std::uint64_t>(pair.first) << 32 |
                                        static_cast<std::uint32_t>(pair.second));
    }
  };
  /// A symbol of a piece, a token so far. The symbols of all pieces are in one list.
  struct Symbol {
    std::int32_t token;  // gone: none, since it has become a part of the one before
    std::uint32_t before, after;
    Index count;  // of the piece in the text
  };
  struct PairUse {
    Index count = 0;
    std::vector<std::uint32_t> places;  // where it may be, by its first symbol
  };
  struct Candidate {
    Index count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::int32_t gone = -1;

  /// The id of a token, which may be there already.
  std::int32_t add_token(const std::string& token) {
    const auto [place, fresh] = ids_.try_emplace(token, static_cast<std::int32_t>(tokens_.size()));
    if (fresh) tokens_.push_back(token);
    return place->second;
  }

  void begin() {
    for (const std::string& special : options_.special_tokens) add_token(special);
    // Bytes in the order of the characters that stand for them, as `tokenizers` numbers them.
    std::vector<std::pair<char32_t, int>> alphabet;
    for (int byte = 0; byte < 256; ++byte)
      alphabet.emplace_back(byte_characters()[static_cast<std::size_t>(byte)], byte);
    std::sort(alphabet.begin(), alphabet.end());
    std::vector<std::int32_t> token_of(256);
    for (const auto& [character, byte] : alphabet) {
      token_of[static_cast<std::size_t>(byte)] =
          add_token(to_byte_characters(std::string(1, static_cast<char>(byte))));
    }
    const std::map<std::string_view, Index> sorted(counts_.begin(), counts_.end());
    for (const auto& [piece, count] : sorted)
      for (std::size_t i = 0; i < piece.size(); ++i) {
        if (symbols_.size() >= none) fail("the text has more than ", none, " bytes of different pieces");
        const auto at = static_cast<std::uint32_t>(symbols_.size());
        symbols_.push_back({token_of[static_cast<unsigned char>(piece[i])], i > 0 ? at - 1 : none,
                            i + 1 < piece.size() ? at + 1 : none, count});
      }
    for (std::uint32_t at = 0; at < symbols_.size(); ++at) change(at, 1);
    for (const auto& [pair, use] : pairs_) queue_.push({use.count, pair});
  }

  /// Counts the pair that begins at a symbol once more, or (−1) no longer. Returns it; nothing at the end.
  std::optional<Pair> change(std::uint32_t at, Index sign) {
    if (at == none || symbols_[at].after == none) return std::nullopt;
    const Pair pair{symbols_[at].token, symbols_[symbols_[at].after].token};
    PairUse& use = pairs_[pair];
    use.count += sign * symbols_[at].count;
    if (sign > 0) use.places.push_back(at);
    return pair;
  }

  void merge(Pair pair, std::int32_t merged) {
    std::vector<std::uint32_t> places = std::move(pairs_[pair].places);
    std::sort(places.begin(), places.end());  // of what overlaps, the first one is merged
    std::set<Pair> made;
    for (const std::uint32_t at : places) {
      Symbol& left = symbols_[at];
      if (left.token != pair.first || left.after == none || symbols_[left.after].token != pair.second)
        continue;
      change(left.before, -1), change(at, -1), change(left.after, -1);
      Symbol& right = symbols_[left.after];
      left.token = merged;
      left.after = right.after;
      right.token = gone;
      if (left.after != none) symbols_[left.after].before = at;
      for (const std::uint32_t changed : {left.before, at})
        if (const auto next = change(changed, 1)) made.insert(*next);
    }
    pairs_.erase(pair);
    for (const Pair& next : made)
      if (const Index count = pairs_[next].count; count > 0) queue_.push({count, next});
  }

  Json json(const std::vector<Pair>& merges) const {
    Json file;
    file["version"] = "1.0";
    file["truncation"] = nullptr;
    file["padding"] = nullptr;
    file["added_tokens"] = Json::array();
    for (std::size_t i = 0; i < options_.special_tokens.size(); ++i)
      file["added_tokens"].push_back({{"id", i},
                                      {"content", options_.special_tokens[i]},
                                      {"single_word", false},
                                      {"lstrip", false},
                                      {"rstrip", false},
                                      {"normalized", false},
                                      {"special", true}});
    file["normalizer"] = nullptr;
    const Json byte_level = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
    file["pre_tokenizer"] = byte_level;
    file["post_processor"] = nullptr;
    file["decoder"] = byte_level;
    Json& model = file["model"];
    model["type"] = "BPE";
    for (const char* const key : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"})
      model[key] = nullptr;
    for (const char* const key : {"fuse_unk", "byte_fallback", "ignore_merges"}) model[key] = false;
    auto& vocab = model["vocab"] = Json::object();
    for (std::size_t id = 0; id < tokens_.size(); ++id)
      vocab.get_ref<Json::object_t&>().emplace_back(tokens_[id], id);  // a look-up per key would be quadratic
    model["merges"] = Json::array();
    for (const auto& [left, right] : merges)
      model["merges"].push_back(
          {tokens_[static_cast<std::size_t>(left)], tokens_[static_cast<std::size_t>(right)]});
    return file;
  }

  BpeTraining options_;
  std::vector<PreTokenizerStep> steps_{SplitStep{.pattern = gpt2_pattern()}};
  PreTokenizer pre_tokenizer_{steps_};
  TextMap<Index> counts_;
  std::vector<std::string> tokens_;
  TextMap<std::int32_t> ids_;
  std::vector<Symbol> symbols_;
  std::unordered_map<Pair, PairUse, PairHash> pairs_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace midus
