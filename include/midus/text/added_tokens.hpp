// Tokens that are found in the text before anything else is done with it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/text/unicode.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// An entry of `added_tokens`, with the flags that tokenizer.json gives it.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no word character is beside it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space behind it
  bool normalized = false;   ///< sought in the normalised text
  bool special = false;      ///< left out by decode, unless it is asked for
};

/// Finds added tokens from left to right, of those that begin at one place the longest.
class AddedTokenFinder {
 public:
  explicit AddedTokenFinder(std::vector<AddedToken> tokens = {}) : tokens_(std::move(tokens)) {
    nodes_.emplace_back();
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const std::string& content = tokens_[i].content;
      std::int32_t at = 0;
      for (std::size_t j = content.size(); j-- > 0;) at = child(at, static_cast<unsigned char>(content[j]));
      if (at != 0) node(at).token = static_cast<std::int32_t>(i);
    }
    std::vector<std::int32_t> order;
    for (const std::int32_t first : first_)
      if (first >= 0) order.push_back(first);
    for (std::size_t i = 0; i < order.size(); ++i)
      for (const auto& [byte, each] : node(order[i]).children) {
        order.push_back(each);
        Node& made = node(each);
        made.shorter = next(node(order[i]).shorter, byte);
        if (made.token < 0) made.token = node(made.shorter).token;
      }
  }

  /// Calls text_part(begin, end) and token(added token) for all of the text, in order.
  template <class TextPart, class Token>
  void split(std::string_view text, TextPart&& text_part, Token&& token) const {
    std::size_t done = 0,
                at = 0;  // what has been handed out ends at the one, what was looked at at the other
    const std::vector<Found> all = longest_at_each_place(text);
    for (std::size_t i = all.size(); i-- > 0;) {
      if (all[i].begin < at) continue;
      const AddedToken* const found = &tokens_[static_cast<std::size_t>(all[i].token)];
      std::size_t begin = all[i].begin, end = begin + found->content.size();
      at = end;
      if (found->single_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end))))
        continue;
      if (found->lstrip) begin = std::max(begin_of_blanks(text.substr(0, begin)), done);
      if (found->rstrip) end += blanks_at_begin(text.substr(end));
      if (begin >= end) continue;  // blanks that the token before has taken
      if (done < begin) text_part(done, begin);
      token(*found);
      done = end;
    }
    if (done < text.size()) text_part(done, text.size());
  }

 private:
  /// Of the automaton of Aho and Corasick (1975) for the tokens read backwards: a text read so has, at each
  /// place, the longest token that begins there.
  struct Node {
    std::vector<std::pair<unsigned char, std::int32_t>> children;  // few: a list is enough
    std::int32_t token = -1;                                       // the longest that begins here
    std::int32_t shorter = 0;  // the node of the longest other end of a token that begins here
  };
  struct Found {
    std::size_t begin;
    std::int32_t token;
  };

  Node& node(std::int32_t index) { return nodes_[static_cast<std::size_t>(index)]; }
  const Node& node(std::int32_t index) const { return nodes_[static_cast<std::size_t>(index)]; }

  std::int32_t find_child(std::int32_t parent, unsigned char byte) const {
    if (parent == 0) return first_[byte];
    for (const auto& [label, child] : node(parent).children)
      if (label == byte) return child;
    return -1;
  }
  std::int32_t child(std::int32_t parent, unsigned char byte) {
    const std::int32_t known = find_child(parent, byte);
    if (known >= 0) return known;
    const auto made = static_cast<std::int32_t>(nodes_.size());
    nodes_.emplace_back();
    if (parent == 0)
      first_[byte] = made;
    else
      node(parent).children.emplace_back(byte, made);
    return made;
  }
  /// The node behind one more byte.
  std::int32_t next(std::int32_t from, unsigned char byte) const {
    for (;; from = node(from).shorter) {
      const std::int32_t found = find_child(from, byte);
      if (found >= 0 || from == 0) return std::max(found, 0);
    }
  }
  /// From the last place to the first.
  std::vector<Found> longest_at_each_place(std::string_view text) const {
    std::vector<Found> all;
    std::int32_t at = 0;
    for (std::size_t i = text.size(); i-- > 0 && nodes_.size() > 1;) {
      at = next(at, static_cast<unsigned char>(text[i]));
      if (node(at).token >= 0) all.push_back({i, node(at).token});
    }
    return all;
  }

  static bool ends_with_word(std::string_view text) {
    return !text.empty() && is_word_character(first_character(text.substr(last_character(text))).value);
  }
  static bool begins_with_word(std::string_view text) {
    return !text.empty() && is_word_character(first_character(text).value);
  }
  static std::size_t begin_of_blanks(std::string_view text) {
    while (!text.empty()) {
      const std::size_t last = last_character(text);
      if (!is_white_space(first_character(text.substr(last)).value)) break;
      text = text.substr(0, last);
    }
    return text.size();
  }
  static std::size_t blanks_at_begin(std::string_view text) {
    std::size_t count = 0;
    while (count < text.size()) {
      const Utf8Character c = first_character(text.substr(count));
      if (!is_white_space(c.value)) break;
      count += c.bytes;
    }
    return count;
  }

  static constexpr std::array<std::int32_t, 256> no_children() {
    std::array<std::int32_t, 256> none{};
    none.fill(-1);
    return none;
  }

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::array<std::int32_t, 256> first_ = no_children();  // children of the root, where every search begins
};

}  // namespace midus
