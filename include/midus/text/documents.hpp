// Documents to tokens, many at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/device/threads.hpp"
#include "midus/io/json_object.hpp"
#include "midus/text/tokenizer.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// A part of a document, and whether the loss counts its tokens.
struct DocumentPart {
  std::string_view text;
  bool counts = true;
  std::string place = {};        ///< for errors: what the text is in, such as "bible.txt"
  std::string_view within = {};  ///< what it is a view of, whose lines and bytes are counted; empty: it alone
};

struct DocumentEncoding {
  std::optional<std::int32_t> end = {};      ///< the token behind each document
  Unknown unknown = Unknown::error;          ///< what becomes of characters without a token
  std::size_t piece = std::size_t{1} << 16;  ///< bytes of a long text that a thread encodes at once
};

/// Encodes documents on the threads of a pool and hands the tokens on in their order. They are those of whole
/// texts, for any number of threads and any size of the pieces. Around a document stand the special tokens
/// that the tokenizer puts around a text, and behind it the end token, where one is wanted, unless the text
/// spells them itself. The parts of a document are encoded on their own. Special tokens before a part that
/// does not count do not count either.
class DocumentEncoder {
 public:
  /// What becomes of the tokens and their loss weights.
  using Write = std::function<void(std::span<const std::int32_t> ids, std::span<const std::uint8_t> weights)>;

  /// Told how many bytes of text have been done since it was called last; false: stop, and throw away the
  /// rest.
  using Progress = std::function<bool(std::size_t bytes)>;

  DocumentEncoder(const Tokenizer& tokenizer, ThreadPool& pool, DocumentEncoding options, Write write,
                  Progress progress = {})
      : tokenizer_(&tokenizer),
        pool_(&pool),
        options_(options),
        write_(std::move(write)),
        progress_(std::move(progress)) {
    for (int worker = 0; worker < pool.size(); ++worker)
      encoders_.push_back(std::make_unique<TextEncoder>(tokenizer, options.unknown));
  }

  /// Takes a document, whose text must live until `flush`. Throws `UnknownCharacter`, with the place, where a
  /// character of what was taken has no token.
  void add(std::span<const DocumentPart> parts) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto part = std::make_shared<const DocumentPart>(parts[i]);
      placed_ = false;
      try {
        add(part, i == 0, i + 1 == parts.size());
      } catch (const Error&) {
        if (placed_) throw;
        rethrow({part, {}, part->text, {}}, std::current_exception());
      }
    }
    if (std::max(bytes_, kept_bytes_) >= at_once) flush();
  }
  /// Keeps the texts that parts of documents view until `flush`.
  std::string_view keep(std::string text) {
    kept_bytes_ += text.size();
    return kept_.emplace_back(std::move(text));
  }

  /// Hands on the tokens of all that was taken.
  void flush() {
    encode_units(owed_);
    kept_.clear();
    kept_bytes_ = 0;
    long_match_.clear();
  }

  /// Characters without a token so far that were left out or replaced.
  Index unknown() const { return unknown_; }
  /// Bytes of the texts so far whose tokens count.
  Index text_bytes() const { return text_bytes_; }

 private:
  static constexpr std::size_t at_once = std::size_t{8} << 20;

  struct Unit {
    std::shared_ptr<const DocumentPart> part;
    std::optional<PreTokenizerUnit> cut;  // of a long text; else
    std::string_view text;                // a whole one, or
    std::vector<std::int32_t> ids;        // these
  };
  /// A match that goes far over the units of its text. Each of them would find it again, so they wait until
  /// they are joined: most are then done.
  class LongMatch {
   public:
    void set(const Unit& unit, std::size_t end) {
      const std::lock_guard lock(mutex_);
      const char* const text = unit.cut->text.data();
      begin_ = text == text_ && end == end_ ? std::min(begin_, unit.cut->end) : unit.cut->end;
      text_ = text, end_ = end;
    }
    bool covers(const Unit& unit) const {
      const std::lock_guard lock(mutex_);
      return unit.cut && unit.cut->text.data() == text_ && unit.cut->begin >= begin_ && unit.cut->end <= end_;
    }
    void clear() { text_ = nullptr; }

   private:
    mutable std::mutex mutex_;
    const char* text_ = nullptr;
    std::size_t begin_ = 0, end_ = 0;
  };
  struct Tokens {
    std::vector<std::int32_t> ids;
    std::optional<std::size_t> reached;  // where the last piece of a cut unit ends
    Index unknown = 0;
    std::exception_ptr error;
  };

  void add(const std::shared_ptr<const DocumentPart>& part, bool first, bool last) {
    owed_ += part->text.size();
    if (part->counts) text_bytes_ += static_cast<Index>(part->text.size());
    if (first && !encoders_[0]->begins_with(part->text, tokenizer_->before))
      take_ids(part, tokenizer_->before);
    cut(part);
    if (!last) return;
    std::vector<std::int32_t> behind;
    if (!encoders_[0]->ends_with(part->text, tokenizer_->after)) behind = tokenizer_->after;
    const bool ended = tokenizer_->after.empty()
                           ? options_.end && encoders_[0]->ends_with(part->text, {&*options_.end, 1})
                           : options_.end == tokenizer_->after.back();
    if (options_.end && !ended) behind.push_back(*options_.end);
    take_ids(part, std::move(behind));
  }

  void take(Unit unit, std::size_t bytes) {
    units_.push_back(std::move(unit));
    bytes_ += bytes;
    if (bytes_ >= at_once && units_.back().cut) encode_units(std::min(bytes_, owed_));
  }
  void take_ids(const std::shared_ptr<const DocumentPart>& part, std::vector<std::int32_t> ids) {
    if (!ids.empty()) take({part, {}, {}, std::move(ids)}, 0);
  }

  void cut(const std::shared_ptr<const DocumentPart>& part) {
    std::string_view text = part->text;
    if (text.size() <= 2 * options_.piece) return take({part, {}, text, {}}, text.size());
    if (!is_utf8(text)) text = keep(replace_invalid_utf8(text));
    encoders_[0]->cut(
        text, options_.piece, [&](std::string made) { return keep(std::move(made)); },
        [&](const PreTokenizerUnit& unit) {
          take({part, unit, {}, {}}, unit.end - unit.begin);
        },
        [&](std::int32_t id) { take_ids(part, {id}); });
  }

  void encode_units(std::size_t done) {
    if (!stopped_) stopped_ = !encode_all(done);
    units_.clear();
    bytes_ = 0;
    owed_ -= done;
  }
  /// Whether to go on.
  bool encode_all(std::size_t done) {
    std::vector<Tokens> tokens(units_.size());
    pool_->parallel_for(static_cast<Index>(units_.size()), [&](Index task, int worker) {
      const auto i = static_cast<std::size_t>(task);
      const std::size_t begin = units_[i].cut ? units_[i].cut->begin : 0;
      if (!long_match_.covers(units_[i]))
        tokens[i] = encode(units_[i], begin, false, *encoders_[static_cast<std::size_t>(worker)]);
    });
    for (std::size_t i = 0; i < units_.size(); ++i) join(units_[i], std::move(tokens[i]));
    return !progress_ || progress_(done);
  }

  /// A unit from `from` on. `to_end`: however far its last piece goes.
  Tokens encode(const Unit& unit, std::size_t from, bool to_end, TextEncoder& encoder) {
    Tokens tokens;
    const Index unknown = encoder.unknown();
    try {
      if (unit.cut) {
        const std::size_t size = unit.cut->text.size();
        const std::size_t stop = to_end ? size : std::min(size, unit.cut->end + options_.piece);
        tokens.reached = encoder.append(*unit.cut, from, stop, tokens.ids);
        if (tokens.reached > stop) {
          long_match_.set(unit, *tokens.reached);
          tokens = {};
        }
      } else {
        tokens.ids = unit.text.empty() ? unit.ids : encoder(unit.text, false);
      }
    } catch (const Error&) {
      tokens.error = std::current_exception();
    }
    tokens.unknown = encoder.unknown() - unknown;
    return tokens;
  }

  /// Hands on the tokens of a unit. One of a text that others share counts where the one before has ended at
  /// its begin (`TextCutter`); else it is done again from there.
  void join(const Unit& unit, Tokens tokens) {
    if (unit.cut) {
      if (unit.cut->begin == 0) reached_ = 0;
      if (unit.cut->end <= reached_) return;  // the one before went over it
      if (unit.cut->begin != reached_ || !(tokens.reached || tokens.error))
        tokens = encode(unit, reached_, true, *encoders_[0]);
    }
    if (tokens.error) rethrow(unit, tokens.error);
    reached_ = tokens.reached.value_or(0);
    unknown_ += tokens.unknown;
    weights_.assign(tokens.ids.size(), unit.part->counts ? 1 : 0);
    write_(tokens.ids, weights_);
  }

  [[noreturn]] void rethrow(const Unit& unit, const std::exception_ptr& error) {
    placed_ = true;
    const std::string place = unit.part->place.empty() ? "the text" : unit.part->place;
    try {
      std::rethrow_exception(error);
    } catch (const UnknownCharacter& unknown) {
      throw UnknownCharacter(midus::text(place, ": ", place_of_unknown(unit), unknown.what()));
    } catch (const Error& other) {
      fail(place, ": ", other.what());
    }
  }

  /// "line 3, byte 17: ", where the first character without a token is; sought line by line, from the unit's
  /// on where that is known.
  std::string place_of_unknown(const Unit& unit) const {
    const std::string_view text = unit.part->text;
    const auto known = [&](std::string_view part) {
      try {
        (*encoders_[0])(part, false);
        return true;
      } catch (const UnknownCharacter&) {
        return false;
      }
    };
    std::size_t begin = 0;
    if (unit.cut && !std::less<>()(unit.cut->text.data(), text.data()) &&
        std::less<>()(unit.cut->text.data(), text.data() + text.size())) {
      begin = static_cast<std::size_t>(unit.cut->text.data() - text.data()) + unit.cut->begin;
      begin = text.rfind('\n', begin) + 1;  // 0 where there is none
    }
    for (std::size_t end = begin; begin < text.size(); begin = end) {
      end = std::min(text.find('\n', begin), text.size() - 1) + 1;
      if (known(text.substr(begin, end - begin))) continue;
      std::size_t before = begin, behind = end;  // what ends at one is known, at the other it is not
      while (before + first_character(text.substr(before)).bytes < behind) {
        std::size_t middle = before + (behind - before) / 2;
        while (is_inside_character(text[middle]) && middle > before) --middle;
        if (middle == before) middle += first_character(text.substr(before)).bytes;
        (known(text.substr(begin, middle - begin)) ? before : behind) = middle;
      }
      const std::string_view within = unit.part->within.empty() ? text : unit.part->within;
      const auto at = static_cast<std::size_t>(text.data() - within.data()) + before;
      const std::string_view lines = within.substr(0, at);
      return midus::text("line ", 1 + std::count(lines.begin(), lines.end(), '\n'), ", byte ", at, ": ");
    }
    return "";
  }

  const Tokenizer* tokenizer_;
  ThreadPool* pool_;
  DocumentEncoding options_;
  Write write_;
  Progress progress_;
  bool stopped_ = false;
  bool placed_ = false;                                 // the error that is on its way names its place
  std::vector<std::unique_ptr<TextEncoder>> encoders_;  // by worker
  std::vector<Unit> units_;
  std::deque<std::string> kept_;
  std::size_t kept_bytes_ = 0;
  std::size_t bytes_ = 0;  // of the units
  std::size_t owed_ = 0;   // of documents that `progress` has not been told of
  LongMatch long_match_;
  std::size_t reached_ = 0;  // where the last piece of the text ends that units share
  Index unknown_ = 0, text_bytes_ = 0;
  std::vector<std::uint8_t> weights_;
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

/// A text that a line of a JSONL file holds.
struct JsonlText {
  std::string text;
  bool counts;        ///< the loss counts its tokens
  std::string place;  ///< the file, the line and the member
};

/// Calls document(its texts) for every line, as `for_jsonl_objects`.
template <class F>
void for_jsonl_documents(std::string_view lines, const std::string& file, std::size_t line,
                         const JsonlFields& fields, F&& document) {
  for_jsonl_objects(lines, file, line, [&](const JsonObject& object) {
    const auto text = [&](const std::string& field, bool counts) {
      return JsonlText{object.string(field), counts, object.file() + ", " + object.where(field)};
    };
    if (fields.prompt.empty())
      document(std::vector<JsonlText>{text(fields.text, true)});
    else
      document(std::vector<JsonlText>{text(fields.prompt, false), text(fields.response, true)});
    return true;
  });
}

}  // namespace midus
