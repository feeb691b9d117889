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
      std::int32_t at = 0;
      for (const char c : tokens_[i].content) at = child(at, static_cast<unsigned char>(c));
      if (at != 0) nodes_[static_cast<std::size_t>(at)].token = static_cast<std::int32_t>(i);
    }
  }

  /// Calls text_part(begin, end) and token(added token) for all of the text, in order.
  template <class TextPart, class Token>
  void split(std::string_view text, TextPart&& text_part, Token&& token) const {
    std::size_t done = 0;  // what has been handed out ends here
    for (std::size_t at = 0; at < text.size() && nodes_.size() > 1;) {
      const auto [length, found] = longest_at(text, at);
      if (found == nullptr) {
        ++at;
        continue;
      }
      std::size_t begin = at, end = at + length;
      at = end;
      if (found->single_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end))))
        continue;
      if (found->lstrip) begin = std::max(begin_of_blanks(text.substr(0, begin)), done);
      if (found->rstrip) end += blanks_at_begin(text.substr(end));
      if (done < begin) text_part(done, begin);
      token(*found);
      done = end;
    }
    if (done < text.size()) text_part(done, text.size());
  }

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::int32_t>> children;  // few: a list is enough
    std::int32_t token = -1;
  };

  std::int32_t find_child(std::int32_t node, unsigned char byte) const {
    if (node == 0) return first_[byte];
    for (const auto& [label, next] : nodes_[static_cast<std::size_t>(node)].children)
      if (label == byte) return next;
    return -1;
  }
  std::int32_t child(std::int32_t node, unsigned char byte) {
    const std::int32_t known = find_child(node, byte);
    if (known >= 0) return known;
    const auto made = static_cast<std::int32_t>(nodes_.size());
    nodes_.emplace_back();
    if (node == 0)
      first_[byte] = made;
    else
      nodes_[static_cast<std::size_t>(node)].children.emplace_back(byte, made);
    return made;
  }
  std::pair<std::size_t, const AddedToken*> longest_at(std::string_view text, std::size_t begin) const {
    std::pair<std::size_t, const AddedToken*> best{0, nullptr};
    std::int32_t node = 0;
    for (std::size_t i = begin; i < text.size(); ++i) {
      node = find_child(node, static_cast<unsigned char>(text[i]));
      if (node < 0) break;
      const std::int32_t token = nodes_[static_cast<std::size_t>(node)].token;
      if (token >= 0) best = {i + 1 - begin, &tokens_[static_cast<std::size_t>(token)]};
    }
    return best;
  }

  /// Where the last character of a text begins.
  static std::size_t last_character(std::string_view text) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    return at;
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
