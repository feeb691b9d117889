// Makes a byte-level BPE vocabulary from text (Sennrich et al. 2016, arXiv 1508.07909).
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
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
  struct Word {
    std::vector<std::int32_t> symbols;
    Index count;
  };
  struct PairUse {
    Index count = 0;
    std::set<std::size_t> words;  // that may hold it
  };
  struct Candidate {
    Index count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

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
    for (const auto& [piece, count] : sorted) {
      Word word{.symbols = {}, .count = count};
      for (const char byte : piece) word.symbols.push_back(token_of[static_cast<unsigned char>(byte)]);
      words_.push_back(std::move(word));
    }
    for (std::size_t w = 0; w < words_.size(); ++w)
      for (std::size_t i = 0; i + 1 < words_[w].symbols.size(); ++i)
        change({words_[w].symbols[i], words_[w].symbols[i + 1]}, words_[w].count, w);
    for (const auto& [pair, use] : pairs_) queue_.push({use.count, pair});
  }

  void change(Pair pair, Index by, std::size_t word) {
    PairUse& use = pairs_[pair];
    use.count += by;
    if (by > 0) use.words.insert(word);
  }

  void merge(Pair pair, std::int32_t merged) {
    const std::set<std::size_t> words = std::move(pairs_[pair].words);
    pairs_.erase(pair);
    std::set<Pair> made;
    for (const std::size_t w : words) {
      Word& word = words_[w];
      std::vector<std::int32_t>& symbols = word.symbols;
      std::vector<std::int32_t> after;
      for (std::size_t i = 0; i < symbols.size(); ++i) {
        if (i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second) {
          after.push_back(merged);
          ++i;
        } else {
          after.push_back(symbols[i]);
        }
      }
      if (after.size() == symbols.size()) continue;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
        if (Pair{symbols[i], symbols[i + 1]} != pair) change({symbols[i], symbols[i + 1]}, -word.count, w);
      for (std::size_t i = 0; i + 1 < after.size(); ++i) {
        const Pair next{after[i], after[i + 1]};
        change(next, word.count, w);
        if (next.first == merged || next.second == merged) made.insert(next);
      }
      symbols = std::move(after);
    }
    for (const Pair& next : made) queue_.push({pairs_[next].count, next});
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
  std::vector<Word> words_;
  std::map<Pair, PairUse> pairs_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace midus
