// From tokens back to text, as they come or all at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

/// The steps of tokenizer.json's decoder.
struct Decoder {
  std::vector<DecoderStep> steps;
  bool blanks =
      true;  ///< tokens are joined with blanks: so `tokenizers` does where there is no decoder at all

  /// The text of tokens, as tokenizer.json spells them.
  std::string operator()(const std::vector<std::string>& tokens) const;

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
};

namespace detail {

// Each step takes parts of tokens, `ends` with the last part of one, hands parts on to next(part, ends), and
// keeps back what later parts could still change. `end(next)` follows the last token.

struct ByteLevelDecoding {
  ByteLevelDecode step;
  std::string token = {}, bytes = {};

  template <class Next>
  void feed(std::string_view part, bool ends, Next&& next) {
    token += part;
    if (!ends) return;
    bytes += Decoder::byte_level_bytes(std::exchange(token, {}));
    const std::size_t certain = bytes.size() - unfinished_bytes(bytes);
    next(replace_invalid_utf8(std::string_view(bytes).substr(0, certain)), false);
    bytes.erase(0, certain);
  }
  template <class Next>
  void end(Next&& next) {
    next(replace_invalid_utf8(bytes), true);
  }
};

struct ByteFallbackDecoding {
  ByteFallbackDecode step;
  std::string token = {}, run = {};
  bool ordinary = false;  // the token that has begun is no byte

  template <class Next>
  void feed(std::string_view part, bool ends, Next&& next) {
    token += part;
    if (!ordinary && ends)
      if (const auto byte = Decoder::fallback_byte(token)) {
        run += *byte;
        return token.clear();
      }
    ordinary = ordinary || ends || token.size() > 6;
    if (!ordinary) return;
    end(next);
    next(token, ends);
    token.clear();
    ordinary = !ends;
  }
  template <class Next>
  void end(Next&& next) {  // of the run, which is text, or not, as a whole
    const bool text = is_utf8(run);
    if (text && !run.empty()) next(run, true);
    for (std::size_t i = 0; !text && i < run.size(); ++i) next("\xef\xbf\xbd", true);
    run.clear();
  }
};

struct FuseDecoding {
  FuseDecode step;

  template <class Next>
  void feed(std::string_view part, bool, Next&& next) {
    next(part, false);
  }
  template <class Next>
  void end(Next&& next) {
    next("", true);
  }
};

struct StripDecoding {
  StripDecode step;
  std::string kept = {};
  std::size_t stripped = 0;  // at the beginning of this token

  template <class Next>
  void feed(std::string_view part, bool ends, Next&& next) {
    kept += part;
    const std::size_t size = step.content.size();
    for (; stripped < step.start && kept.starts_with(step.content); ++stripped) kept.erase(0, size);
    const bool more = stripped < step.start && step.content.starts_with(kept);
    if (!ends && more) return;
    if (!more) stripped = step.start;  // what follows is no longer the beginning
    // Kept back is what may be the contents at the end, the last of them without its end.
    std::size_t certain = kept.size();
    const std::string_view all = kept;
    for (std::size_t begun = 0; step.stop > 0 && begun < (ends ? 1 : size) && begun <= all.size(); ++begun) {
      std::size_t at = all.size() - begun;
      if (!step.content.starts_with(all.substr(at))) continue;
      for (std::size_t i = 0; i < step.stop && all.substr(0, at).ends_with(step.content); ++i) at -= size;
      certain = std::min(certain, at);
    }
    if (ends) stripped = 0;
    next(all.substr(0, certain), ends);
    kept.erase(0, ends ? kept.size() : certain);
  }
  template <class Next>
  void end(Next&&) {}
};

/// For Metaspace too, whose first token may be another.
struct ReplaceDecoding {
  ReplaceText step;
  std::string to_in_first = step.to;
  std::string kept = {};
  bool first = true;

  template <class Next>
  void feed(std::string_view part, bool ends, Next&& next) {
    kept += part;
    std::string done;
    std::size_t at = 0;
    for (std::size_t found; (found = kept.find(step.from, at)) != kept.npos; at = found + step.from.size())
      done.append(kept, at, found - at).append(first ? to_in_first : step.to);
    std::size_t end = kept.size();
    if (!ends) {  // another one may have begun
      end = std::max(at, end - std::min(end, step.from.size() - 1));
      while (!step.from.starts_with(std::string_view(kept).substr(end))) ++end;
    }
    done.append(kept, at, end - at);
    kept.erase(0, end);
    first = first && !ends;
    next(done, ends);
  }
  template <class Next>
  void end(Next&&) {}
};

}  // namespace detail

/// Decodes tokens as they come: `push` returns what no later token can change, never a part of a character,
/// and `finish` the rest. All of it together is what the decoder gives for all tokens at once.
class DecoderStream {
 public:
  /// `bytes`: every token consists of characters that stand for bytes.
  explicit DecoderStream(const Decoder& decoder, bool bytes = false)
      : blanks_(decoder.steps.empty() && decoder.blanks) {
    for (const DecoderStep& step : decoder.steps) {
      // The bytes of all tokens in one are those of each: nothing has to wait for the last.
      if (bytes && std::holds_alternative<ByteLevelDecode>(step) && steps_.size() == 1 &&
          std::holds_alternative<detail::FuseDecoding>(steps_[0]))
        steps_.clear();
      std::visit([&](const auto& each) { add(each); }, step);
    }
    made_.resize(steps_.size() + 1);
  }

  std::string push(std::string_view token) {
    if (blanks_ && std::exchange(begun_, true)) out_ += ' ';
    given_ += token.size();
    feed(0, token, true);
    const std::size_t certain = out_.size() - unfinished_bytes(out_);
    std::string text = out_.substr(0, certain);
    out_.erase(0, certain);
    return text;
  }

  std::string finish() {
    for (std::size_t i = 0; i < steps_.size(); ++i)
      std::visit([&](auto& step) { step.end(next(i)); }, steps_[i]);
    return std::exchange(out_, {});
  }

 private:
  using Step = std::variant<detail::ByteLevelDecoding, detail::ByteFallbackDecoding, detail::FuseDecoding,
                            detail::StripDecoding, detail::ReplaceDecoding>;

  void add(const ByteLevelDecode& step) { steps_.emplace_back(detail::ByteLevelDecoding{step}); }
  void add(const ByteFallbackDecode& step) { steps_.emplace_back(detail::ByteFallbackDecoding{step}); }
  void add(const FuseDecode& step) { steps_.emplace_back(detail::FuseDecoding{step}); }
  void add(const StripDecode& step) { steps_.emplace_back(detail::StripDecoding{step}); }
  void add(const ReplaceText& step) { steps_.emplace_back(detail::ReplaceDecoding{step}); }
  void add(const MetaspaceDecode& step) {
    steps_.emplace_back(
        detail::ReplaceDecoding{{step.replacement, " "}, step.prepended ? std::string() : " "});
  }

  /// Hands on to the step behind.
  struct Next {
    DecoderStream* stream;
    std::size_t behind;
    void operator()(std::string_view part, bool ends) const { stream->feed(behind, part, ends); }
  };
  Next next(std::size_t step) { return {this, step + 1}; }
  void feed(std::size_t i, std::string_view part, bool ends) {
    check_growth(given_, made_[i] += part.size());
    if (i == steps_.size())
      out_ += part;
    else
      std::visit([&](auto& step) { step.feed(part, ends, next(i)); }, steps_[i]);
  }

  bool blanks_, begun_ = false;
  std::vector<Step> steps_;
  std::size_t given_ = 0;          // bytes of tokens
  std::vector<std::size_t> made_;  // bytes that reached each step, and the text
  std::string out_;
};

inline std::string Decoder::operator()(const std::vector<std::string>& tokens) const {
  DecoderStream stream(*this);
  std::string out;
  for (const std::string& token : tokens) out += stream.push(token);
  return out + stream.finish();
}

}  // namespace midus
