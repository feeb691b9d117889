// Small tokenizer.json files for tests.
#pragma once

#include <string>
#include <vector>

#include "midus/tokenizer.hpp"
#include "support/files.hpp"

namespace midus::test {

/// A tokenizer.json with this model ("vocab" and "merges" as JSON) and these other members.
inline Tokenizer tokenizer_of(const std::string& vocab, const std::string& merges = "[]",
                              const std::string& more_of_model = "", const std::string& more = "") {
  const std::string json = R"({"model": {"type": "BPE", "vocab": )" + vocab + R"(, "merges": )" + merges +
                           more_of_model + "}" + more + "}";
  return detail::TokenizerReader(parse_json(json, "tokenizer.json"), "tokenizer.json").read();
}

using Ids = std::vector<std::int32_t>;

inline Ids encode(const Tokenizer& tokenizer, std::string_view text, bool special = true) {
  TextEncoder encoder(tokenizer);
  return encoder(text, special);
}

/// The pieces that steps make of a text.
inline std::vector<std::string> pieces(const std::vector<PreTokenizerStep>& steps, std::string_view text) {
  std::vector<std::string> out;
  PreTokenizer pre_tokenizer(steps);
  pre_tokenizer(text, true, [&](std::string_view piece) { out.emplace_back(piece); });
  return out;
}

inline const std::string llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Every byte as a token, its number the byte's.
inline std::string byte_vocabulary() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte)
    vocab[to_byte_characters(std::string(1, static_cast<char>(byte)))] = byte;
  return vocab.dump();
}

/// A tokenizer of bytes with this pre-tokenizer (JSON).
inline Tokenizer byte_tokenizer(
    const std::string& pre_tokenizer = R"({"type": "ByteLevel", "add_prefix_space": false})",
    const std::string& vocab = byte_vocabulary()) {
  return tokenizer_of(vocab, "[]", "",
                      R"(, "pre_tokenizer": )" + pre_tokenizer + R"(, "decoder": {"type": "ByteLevel"})");
}

}  // namespace midus::test
