// From tokens back to text, all at once or as they come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "midus/text/byte_level.hpp"
#include "midus/text/normalizer.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// Characters that stand for bytes become these bytes, the text of all tokens in one.
struct ByteLevelDecode {};
/// Tokens <0x00> ... <0xFF> become bytes; a run of them that is no UTF-8 becomes U+FFFD, one per byte.
struct ByteFallbackDecode {};
/// All tokens become one text, for the steps behind.
struct FuseDecode {};
/// Takes up to `start` of `content` off the beginning of each text, and up to `stop` off its end.
struct StripDecode {
  std::string content;
  std::size_t start = 0, stop = 0;
};
/// `replacement` becomes a blank, and nothing in the first token where one was prepended.
struct MetaspaceDecode {
  std::string replacement = "\xe2\x96\x81";
  bool prepended = true;
};

using DecoderStep =
    std::variant<ByteLevelDecode, ByteFallbackDecode, FuseDecode, StripDecode, MetaspaceDecode, ReplaceText>;

/// The steps of tokenizer.json's decoder. Without steps the tokens are joined with blanks, as `tokenizers`
/// does.
class Decoder {
  using Tokens = std::vector<std::string>;

 public:
  std::vector<DecoderStep> steps;

  std::string operator()(std::vector<std::string> tokens) const {
    if (steps.empty()) {
      std::string out;
      for (std::size_t i = 0; i < tokens.size(); ++i) out += (i > 0 ? " " : "") + tokens[i];
      return out;
    }
    const auto size = [](const Tokens& all) {
      std::size_t bytes = 0;
      for (const std::string& token : all) bytes += token.size();
      return bytes;
    };
    const std::size_t before = size(tokens);
    for (const DecoderStep& step : steps) {
      tokens = std::visit([&](const auto& each) { return apply(each, std::move(tokens)); }, step);
      check_growth(before, size(tokens));
    }
    std::string out;
    for (const std::string& token : tokens) out += token;
    return out;
  }

  /// The bytes of one token of a byte-level vocabulary; a token of other characters stands for itself.
  static std::string byte_level_bytes(const std::string& token) {
    return from_byte_characters(token).value_or(token);
  }

  /// The byte that <0xHH> stands for.
  static std::optional<char> fallback_byte(std::string_view token) {
    const auto digit = [](char c) {
      return c >= '0' && c <= '9'   ? c - '0'
             : c >= 'A' && c <= 'F' ? c - 'A' + 10
             : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                    : -1;
    };
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    const int high = digit(token[3]), low = digit(token[4]);
    if (high < 0 || low < 0) return std::nullopt;
    return static_cast<char>(static_cast<unsigned char>(16 * high + low));
  }

 private:
  static Tokens apply(const ByteLevelDecode&, Tokens tokens) {
    std::string bytes;
    for (const std::string& token : tokens) bytes += byte_level_bytes(token);
    return {replace_invalid_utf8(bytes)};
  }
  static Tokens apply(const ByteFallbackDecode&, Tokens tokens) {
    Tokens out;
    std::string run;
    const auto end_run = [&] {
      if (run.empty()) return;
      if (is_utf8(run))
        out.push_back(run);
      else
        out.insert(out.end(), run.size(), "\xef\xbf\xbd");
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = fallback_byte(token)) {
        run += *byte;
        continue;
      }
      end_run();
      out.push_back(std::move(token));
    }
    end_run();
    return out;
  }
  static Tokens apply(const FuseDecode&, Tokens tokens) {
    std::string all;
    for (const std::string& token : tokens) all += token;
    return {all};
  }
  static Tokens apply(const StripDecode& strip, Tokens tokens) {
    for (std::string& token : tokens) {
      for (std::size_t i = 0; i < strip.start && token.starts_with(strip.content); ++i)
        token.erase(0, strip.content.size());
      for (std::size_t i = 0; i < strip.stop && token.ends_with(strip.content); ++i)
        token.resize(token.size() - strip.content.size());
    }
    return tokens;
  }
  static Tokens apply(const MetaspaceDecode& metaspace, Tokens tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = ReplaceText{metaspace.replacement, i == 0 && metaspace.prepended ? "" : " "}(tokens[i]);
    return tokens;
  }
  static Tokens apply(const ReplaceText& replace, Tokens tokens) {
    for (std::string& token : tokens) token = replace(token);
    return tokens;
  }
};

}  // namespace midus
