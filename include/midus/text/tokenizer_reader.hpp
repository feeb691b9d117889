// Reads tokenizer.json. What midus does not do is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/io/json_object.hpp"
#include "midus/text/tokenizer.hpp"

namespace midus {

namespace detail {

/// Reads the parts of one file.
class TokenizerReader {
 public:
  TokenizerReader(const Json& json, const std::string& file) : root_(json, file) { tokenizer_.file = file; }

  Tokenizer read() {
    root_.allow_only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                      "post_processor", "decoder", "model"});
    const JsonObject of_model = root_.object("model");  // another kind of model differs in all else too
    if (const std::string type = of_model.string("type", "BPE"); type != "BPE")
      refuse_type(of_model, type, "BPE");
    for (const char* const key : {"truncation", "padding"})
      if (root_.has(key))
        tokenizer_.warnings.push_back(root_.file() + ": " + root_.where(key) +
                                      " is not applied: texts are encoded whole");
    if (root_.has("pre_tokenizer")) pre_tokenizer(root_.object("pre_tokenizer"), true);
    model(of_model);
    if (root_.has("normalizer")) normalizer(root_.object("normalizer"));
    if (root_.has("decoder")) {
      tokenizer_.decoder.blanks = false;
      decoder(root_.object("decoder"));
    }
    for (const std::size_t steps : {tokenizer_.pre_tokenizer.size(), tokenizer_.normalizer.steps.size(),
                                    tokenizer_.decoder.steps.size()})
      if (steps > 64) fail(root_.file(), ": a sequence has ", steps, " steps, more than 64");
    added_tokens();
    if (root_.has("post_processor")) post_processor(root_.object("post_processor"));
    return std::move(tokenizer_);
  }

 private:
  static constexpr Index most_tokens = Index{1} << 24;

  [[noreturn]] void refuse_type(const JsonObject& object, const std::string& type,
                                std::string_view known) const {
    fail(root_.file(), ": ", object.where("type"), " ", in_quotes(type), " is not supported; supported are ",
         known);
  }

  /// Calls f(item) for every object of a list.
  template <class F>
  void for_objects(const JsonObject& object, std::string_view key, F&& f) const {
    const Json* const list = object.find(key);
    if (list == nullptr || !list->is_array()) object.refuse(key, "a list of objects");
    for (std::size_t i = 0; i < list->size(); ++i) {
      std::string name = object.where(key);  // in quotes
      name = name.substr(1, name.size() - 2) + "[" + std::to_string(i) + "]";
      f(JsonObject((*list)[i], root_.file(), name));
    }
  }

  void put_token(std::int32_t id, std::string token, const std::string& where) {
    auto& tokens = tokenizer_.tokens;
    if (static_cast<std::size_t>(id) >= tokens.size()) tokens.resize(static_cast<std::size_t>(id) + 1);
    auto& place = tokens[static_cast<std::size_t>(id)];
    if (place && *place != token)
      fail(root_.file(), ": ", where, ": the id ", id, " is both ", in_quotes(*place), " and ",
           in_quotes(token));
    place = std::move(token);
  }

  /// As the pieces are spelt that are looked up: bytes in a byte-level vocabulary. Nothing where no piece can
  /// be spelt so.
  std::optional<std::string> as_piece(const std::string& token) const {
    if (tokenizer_.model.byte_level) return from_byte_characters(token);
    return token;
  }

  void model(const JsonObject& json) {
    json.allow_only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                     "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
    if (const Json* const dropout = json.find("dropout"); dropout && *dropout != 0)
      fail(root_.file(), ": ", json.where("dropout"),
           " is not supported: the same text has to give the same tokens");
    for (const char* const key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!json.string(key, "").empty()) fail(root_.file(), ": ", json.where(key), " is not supported");
    BpeModel& model = tokenizer_.model;
    model.fuse_unk = json.boolean("fuse_unk", false);
    model.byte_fallback = json.boolean("byte_fallback", false);
    model.ignore_merges = json.boolean("ignore_merges", false);

    const JsonObject vocab = json.object("vocab");
    if (static_cast<Index>(vocab.json().size()) > most_tokens)
      fail(root_.file(), ": \"model.vocab\" has ", vocab.json().size(), " tokens, more than ", most_tokens);
    ids_.reserve(vocab.json().size());
    for (auto item = vocab.json().begin(); item != vocab.json().end(); ++item) {
      const auto id = static_cast<std::int32_t>(vocab_id(*item, item.key()));
      put_token(id, item.key(), "\"model.vocab\"");
      ids_.emplace(item.key(), id);
      if (auto piece = as_piece(item.key())) model.vocabulary.emplace(*std::move(piece), id);
    }
    if (json.has("unk_token")) {
      const std::string unk = json.string("unk_token");
      const auto found = ids_.find(unk);
      if (found == ids_.end())
        fail(root_.file(), ": \"model.unk_token\" ", in_quotes(unk), " is not in the vocabulary");
      model.unk = found->second;
    }
    merges(json);
  }

  Index vocab_id(const Json& value, const std::string& token) const {
    const std::optional<Index> id = exact_integer(value);
    if (!id || *id < 0 || *id >= most_tokens)
      fail(root_.file(), ": \"model.vocab\": expected an id from 0 to ", most_tokens - 1, " for ",
           in_quotes(token), ", found ", found_text(value));
    return *id;
  }

  /// "a b", or ["a", "b"].
  void merges(const JsonObject& json) {
    const Json* const list = json.find("merges");
    if (list == nullptr || !list->is_array()) json.refuse("merges", "a list");
    tokenizer_.model.merges.reserve(list->size());
    for (std::size_t i = 0; i < list->size(); ++i) {
      const Json& item = (*list)[i];
      std::string left, right;
      bool good = false;
      if (item.is_string()) {
        const auto& text = item.get_ref<const std::string&>();
        const std::size_t blank = text.find(' ');
        good = blank != text.npos && text.find(' ', blank + 1) == text.npos;
        if (good) left = text.substr(0, blank), right = text.substr(blank + 1);
      } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
        good = true;
        left = item[0].get<std::string>(), right = item[1].get<std::string>();
      }
      if (!good)
        fail(root_.file(), ": \"model.merges[", i, "]\": expected \"a b\" or [\"a\", \"b\"], found ",
             found_text(item));
      const auto id = [&](const std::string& token) {
        const auto found = ids_.find(token);
        if (found == ids_.end())
          fail(root_.file(), ": \"model.merges[", i, "]\": ", in_quotes(token), " is not in the vocabulary");
        return found->second;
      };
      tokenizer_.model.merges.push_back({id(left), id(right), id(left + right)});
    }
  }

  void normalizer(const JsonObject& json) {
    const std::string type = json.string("type");
    auto& steps = tokenizer_.normalizer.steps;
    if (type == "Sequence") {
      for_objects(json, "normalizers", [&](const JsonObject& each) { normalizer(each); });
    } else if (type == "Prepend") {
      steps.emplace_back(PrependText{json.string("prepend")});
    } else if (type == "Replace") {
      const auto [literal, regex] = pattern(json);
      if (literal)
        steps.emplace_back(ReplaceText{*literal, json.string("content")});
      else
        steps.emplace_back(ReplaceMatches{*regex, json.string("content")});
    } else {
      refuse_type(json, type, "Sequence, Prepend and Replace");
    }
  }

  /// {"String": "..."} or {"Regex": "..."}.
  std::pair<std::optional<std::string>, std::optional<Regex>> pattern(const JsonObject& json) const {
    const JsonObject pattern = json.object("pattern");
    pattern.allow_only({"String", "Regex"});
    if (pattern.has("String") == pattern.has("Regex"))
      json.refuse("pattern", "{\"String\": ...} or {\"Regex\": ...}");
    if (pattern.has("String")) {
      const std::string literal = pattern.string("String");
      if (literal.empty()) fail(root_.file(), ": ", pattern.where("String"), " is empty");
      return {literal, std::nullopt};
    }
    try {
      return {std::nullopt, Regex(pattern.string("Regex"))};
    } catch (const Error& error) {
      fail(root_.file(), ": ", pattern.where("Regex"), ": ", error.what());
    }
  }

  void pre_tokenizer(const JsonObject& json, bool last) {
    const std::string type = json.string("type");
    auto& steps = tokenizer_.pre_tokenizer;
    if (type == "Sequence") {
      const Json* const list = json.find("pretokenizers");
      std::size_t rest = list && list->is_array() ? list->size() : 0;
      for_objects(json, "pretokenizers",
                  [&](const JsonObject& each) { pre_tokenizer(each, last && --rest == 0); });
    } else if (type == "ByteLevel") {
      if (!last)
        fail(root_.file(), ": ", json.where("type"),
             " \"ByteLevel\" must be the last pre-tokenizer; "
             "one behind it would see other characters than those of the text");
      tokenizer_.model.byte_level = true;
      if (json.boolean("add_prefix_space", true)) steps.emplace_back(PrefixSpaceStep());
      if (json.boolean("use_regex", true)) steps.emplace_back(SplitStep{.pattern = gpt2_pattern()});
    } else if (type == "Digits") {
      steps.emplace_back(DigitsStep{json.boolean("individual_digits", false)});
    } else if (type == "Split") {
      const auto [literal, regex] = pattern(json);
      const std::string behavior = json.string("behavior");
      SplitStep step{.pattern = regex ? *regex : Regex(escaped(*literal)),
                     .invert = json.boolean("invert", false)};
      if (behavior == "Isolated")
        step.behavior = SplitBehavior::isolated;
      else if (behavior == "Removed")
        step.behavior = SplitBehavior::removed;
      else if (behavior == "MergedWithPrevious")
        step.behavior = SplitBehavior::merged_with_previous;
      else if (behavior == "MergedWithNext")
        step.behavior = SplitBehavior::merged_with_next;
      else if (behavior == "Contiguous")
        step.behavior = SplitBehavior::contiguous;
      else
        json.refuse("behavior", "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
      steps.emplace_back(std::move(step));
    } else if (type == "Metaspace") {
      const auto [replacement, prepend] = metaspace(json);
      steps.emplace_back(MetaspaceStep{replacement, prepend, json.boolean("split", true)});
    } else {
      refuse_type(json, type, "Sequence, ByteLevel, Split, Digits and Metaspace");
    }
  }

  std::pair<std::string, MetaspaceStep::Prepend> metaspace(const JsonObject& json) const {
    const std::string scheme =
        json.string("prepend_scheme", json.boolean("add_prefix_space", true) ? "always" : "never");
    if (scheme != "always" && scheme != "never" && scheme != "first")
      json.refuse("prepend_scheme", "always, never or first");
    const std::string replacement = json.string("replacement", "\xe2\x96\x81");
    if (replacement.empty() || first_character(replacement).bytes != replacement.size() || replacement == " ")
      json.refuse("replacement", "one character, not a blank");
    return {replacement, scheme == "always"  ? MetaspaceStep::Prepend::always
                         : scheme == "never" ? MetaspaceStep::Prepend::never
                                             : MetaspaceStep::Prepend::first};
  }

  /// A pattern that matches the text alone.
  static std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (std::string_view(R"(\^$.[]|()?*+{}&-#~)").find(c) != std::string_view::npos) out += '\\';
      out += c;
    }
    return out;
  }

  void decoder(const JsonObject& json) {
    const std::string type = json.string("type");
    auto& steps = tokenizer_.decoder.steps;
    if (type == "Sequence") {
      for_objects(json, "decoders", [&](const JsonObject& each) { decoder(each); });
    } else if (type == "ByteLevel") {
      steps.emplace_back(ByteLevelDecode());
    } else if (type == "ByteFallback") {
      steps.emplace_back(ByteFallbackDecode());
    } else if (type == "Fuse") {
      steps.emplace_back(FuseDecode());
    } else if (type == "Strip") {
      const std::string content = json.string("content", " ");
      steps.emplace_back(StripDecode{content, static_cast<std::size_t>(json.integer("start", 0, 1 << 20, 0)),
                                     static_cast<std::size_t>(json.integer("stop", 0, 1 << 20, 0))});
    } else if (type == "Metaspace") {
      const auto [replacement, prepend] = metaspace(json);
      steps.emplace_back(MetaspaceDecode{replacement, prepend != MetaspaceStep::Prepend::never});
    } else if (type == "Replace") {
      const auto [literal, regex] = pattern(json);
      if (!literal)
        fail(root_.file(), ": ", json.where("pattern"), ": a regular expression is not supported here");
      steps.emplace_back(ReplaceText{*literal, json.string("content")});
    } else {
      refuse_type(json, type, "Sequence, ByteLevel, ByteFallback, Fuse, Strip, Metaspace and Replace");
    }
  }

  void added_tokens() {
    if (!root_.has("added_tokens")) return;
    for_objects(root_, "added_tokens", [&](const JsonObject& json) {
      AddedToken token{.id = static_cast<std::int32_t>(json.integer("id", 0, most_tokens - 1)),
                       .content = json.string("content"),
                       .single_word = json.boolean("single_word", false),
                       .lstrip = json.boolean("lstrip", false),
                       .rstrip = json.boolean("rstrip", false),
                       .normalized = json.boolean("normalized", true),
                       .special = json.boolean("special", false)};
      if (token.content.empty()) return;  // `tokenizers` passes over it too
      if (const auto known = ids_.find(token.content); known != ids_.end() && known->second != token.id)
        fail(root_.file(), ": ", json.where("id"), " says ", token.id, " for ", in_quotes(token.content),
             ", \"model.vocab\" says ", known->second);
      put_token(token.id, token.content, json.where("id"));
      if (token.normalized)  // `tokenizers` decodes it so
        tokenizer_.tokens[static_cast<std::size_t>(token.id)] = tokenizer_.normalizer(token.content);
      std::vector<bool>& special = tokenizer_.special;
      special.resize(tokenizer_.tokens.size());
      if (token.special) special[static_cast<std::size_t>(token.id)] = true;
      tokenizer_.added_tokens.push_back(std::move(token));
    });
  }

  void post_processor(const JsonObject& json) {
    const std::string type = json.string("type");
    if (type == "ByteLevel") return;  // offsets alone
    if (type == "Sequence")
      return for_objects(json, "processors", [&](const JsonObject& each) { post_processor(each); });
    if (type != "TemplateProcessing") refuse_type(json, type, "Sequence, ByteLevel and TemplateProcessing");
    bool behind = false;
    for_objects(json, "single", [&](const JsonObject& piece) {
      if (piece.has("Sequence")) {
        if (behind || piece.object("Sequence").string("id") != "A")
          json.refuse("single", "a template with the sequence A once");
        behind = true;
        return;
      }
      const std::string name = piece.object("SpecialToken").string("id");
      const std::vector<Index> ids =
          json.object("special_tokens").object(name).integers("ids", 0, tokenizer_.vocab_size() - 1);
      for (const Index id : ids)
        (behind ? tokenizer_.after : tokenizer_.before).push_back(static_cast<std::int32_t>(id));
    });
    if (!behind) json.refuse("single", "a template with the sequence A once");
  }

  JsonObject root_;
  Tokenizer tokenizer_;
  TextMap<std::int32_t> ids_;  // of the vocabulary, as tokenizer.json spells its tokens
};

}  // namespace detail

/// Reads a tokenizer.json, or that of a model's directory. Throws `Error` where it is malformed, or asks for
/// what midus does not do.
inline Tokenizer read_tokenizer(std::filesystem::path path) {
  if (std::filesystem::is_directory(path)) path /= "tokenizer.json";
  const Json json = read_json_file(path, {.bytes = std::size_t{512} << 20});
  return detail::TokenizerReader(json, path.string()).read();
}

}  // namespace midus
