// Documents to tokens, many at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/device/threads.hpp"
#include "midus/io/json_object.hpp"
#include "midus/text/tokenizer.hpp"

namespace midus {

/// A part of a document, and whether the loss counts its tokens.
struct DocumentPart {
  std::string_view text;
  bool counts = true;
};

/// Encodes documents on the threads of a pool and hands the tokens on in their order, the same for any number
/// of threads. Around a document stand the special tokens that the tokenizer puts around a text, and behind
/// it the end token, where one is wanted. The parts of a document are encoded on their own. Special tokens
/// before a part that does not count do not count either.
class DocumentEncoder {
 public:
  /// What becomes of the tokens and their loss weights.
  using Write = std::function<void(std::span<const std::int32_t> ids, std::span<const std::uint8_t> weights)>;

  /// Told how many bytes of text have been done since it was called last; false: stop, and throw away the
  /// rest.
  using Progress = std::function<bool(std::size_t bytes)>;

  DocumentEncoder(const Tokenizer& tokenizer, ThreadPool& pool, std::optional<std::int32_t> end, Write write,
                  Progress progress = {})
      : tokenizer_(&tokenizer),
        pool_(&pool),
        end_(end),
        write_(std::move(write)),
        progress_(std::move(progress)) {
    for (int worker = 0; worker < pool.size(); ++worker)
      encoders_.push_back(std::make_unique<TextEncoder>(tokenizer));
  }

  /// Takes a document, whose text must live until `flush`.
  void add(std::span<const DocumentPart> parts) {
    for (std::size_t i = 0; i < parts.size(); ++i) cut(parts[i], i == 0, i + 1 == parts.size());
    if (bytes_ >= at_once) encode_units(), kept_.clear();
  }
  /// Keeps the texts that parts of documents view until `flush`.
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }

  /// Hands on the tokens of all that was taken.
  void flush() { encode_units(), kept_.clear(); }

 private:
  static constexpr std::size_t at_once = std::size_t{8} << 20, piece = std::size_t{1} << 16;

  struct Unit {
    std::string_view text;
    bool counts, begins, ends;  // the loss counts it; it begins or ends the document
  };
  struct Tokens {
    std::vector<std::int32_t> ids;
    std::vector<std::uint8_t> weights;
  };

  void encode_units() {
    if (stopped_) return units_.clear();
    std::vector<Tokens> tokens(units_.size());
    pool_->parallel_for(static_cast<Index>(units_.size()), [&](Index task, int worker) {
      const auto i = static_cast<std::size_t>(task);
      tokens[i] = encode(units_[i], *encoders_[static_cast<std::size_t>(worker)]);
    });
    for (const Tokens& each : tokens) write_(each.ids, each.weights);
    units_.clear();
    stopped_ = progress_ && !progress_(std::exchange(bytes_, 0));
  }

  void take(std::string_view text, const DocumentPart& part, bool begins, bool ends) {
    units_.push_back({text, part.counts, begins, ends});
    bytes_ += text.size();
  }

  /// Long texts are cut between lines, where that changes no token.
  void cut(const DocumentPart& part, bool begins, bool ends) {
    std::string_view rest = part.text;
    for (std::size_t at = piece; rest.size() > 2 * piece && at < rest.size();) {
      const std::size_t feed = rest.find('\n', at);
      if (feed == rest.npos || feed + 1 >= rest.size() || feed > 64 * piece) break;
      if (!may_cut(rest, feed + 1)) {
        at = feed + 1;
        continue;
      }
      take(rest.substr(0, feed + 1), part, std::exchange(begins, false), false);
      if (bytes_ >= at_once) encode_units();
      rest.remove_prefix(feed + 1);
      at = piece;
    }
    take(rest, part, begins, ends);
  }

  /// Whether the lines on both sides have the same tokens apart and together.
  bool may_cut(std::string_view text, std::size_t at) {
    constexpr std::size_t longest = 4096;
    std::size_t begin = at < 2 ? text.npos : text.rfind('\n', at - 2);
    begin = begin == text.npos ? 0 : begin + 1;
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    if (at - begin > longest || end - at > longest) return false;
    TextEncoder& encode = *encoders_[0];
    std::vector<std::int32_t> apart = encode(text.substr(begin, at - begin), false);
    const std::vector<std::int32_t> second = encode(text.substr(at, end - at), false);
    apart.insert(apart.end(), second.begin(), second.end());
    return apart == encode(text.substr(begin, end - begin), false);
  }

  Tokens encode(const Unit& unit, TextEncoder& encoder) const {
    Tokens tokens;
    if (unit.begins) tokens.ids = tokenizer_->before;
    const std::vector<std::int32_t> ids = encoder(unit.text, false);
    tokens.ids.insert(tokens.ids.end(), ids.begin(), ids.end());
    if (unit.ends) {
      tokens.ids.insert(tokens.ids.end(), tokenizer_->after.begin(), tokenizer_->after.end());
      if (end_) tokens.ids.push_back(*end_);
    }
    tokens.weights.assign(tokens.ids.size(), unit.counts ? 1 : 0);
    return tokens;
  }

  const Tokenizer* tokenizer_;
  ThreadPool* pool_;
  std::optional<std::int32_t> end_;
  Write write_;
  Progress progress_;
  bool stopped_ = false;
  std::vector<std::unique_ptr<TextEncoder>> encoders_;  // by worker
  std::vector<Unit> units_;
  std::deque<std::string> kept_;
  std::size_t bytes_ = 0;
};

/// Calls f(object) for every line of a JSONL file that is not blank, as long as it returns true. `line` is
/// the number of the first one, for errors, which name file, line and member.
template <class F>
void for_jsonl_objects(std::string_view lines, const std::string& file, std::size_t line, F&& f) {
  for (bool more = true; more && !lines.empty(); ++line) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    const std::string_view text = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (text.find_first_not_of(" \t\r") == text.npos) continue;
    const Json json = parse_json(text, file, {}, line);
    const std::string name = file + ", line " + std::to_string(line);
    if (!json.is_object()) fail(name, ": a line must be an object {...}, found ", found_text(json));
    more = f(JsonObject(json, name));
  }
}

/// The members of a line of a JSONL file that make a document: `text` alone, or `prompt` and `response`, of
/// which the loss counts the second.
struct JsonlFields {
  std::string text, prompt, response;
};

/// Calls document(texts, counts) for every line, as `for_jsonl_objects`.
template <class F>
void for_jsonl_documents(std::string_view lines, const std::string& file, std::size_t line,
                         const JsonlFields& fields, F&& document) {
  for_jsonl_objects(lines, file, line, [&](const JsonObject& object) {
    if (fields.prompt.empty())
      document(std::vector<std::string>{object.string(fields.text)}, std::vector<bool>{true});
    else
      document(std::vector<std::string>{object.string(fields.prompt), object.string(fields.response)},
               std::vector<bool>{false, true});
    return true;
  });
}

}  // namespace midus
