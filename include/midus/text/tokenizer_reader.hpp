// Reads tokenizer.json. What midus does not do is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "midus/io/json_object.hpp"
#include "midus/text/steps_reader.hpp"
#include "midus/text/tokenizer.hpp"

namespace midus {

namespace detail {

/// Reads the parts of one file.
class TokenizerReader {
 public:
  TokenizerReader(const Json& json, const std::string& file) : root_(json, file), steps_(file) {
    tokenizer_.file = file;
  }

  Tokenizer read() {
    root_.allow_only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                      "post_processor", "decoder", "model"});
    const JsonObject of_model = root_.object("model");  // another kind of model differs in all else too
    if (const std::string type = of_model.string("type", "BPE"); type != "BPE")
      steps_.refuse_type(of_model, type, "BPE");
    for (const char* const key : {"truncation", "padding"})
      if (root_.has(key))
        tokenizer_.warnings.push_back(root_.file() + ": " + root_.where(key) +
                                      " is not applied: texts are encoded whole");
    if (root_.has("pre_tokenizer"))
      tokenizer_.model.byte_level =
          steps_.pre_tokenizer(root_.object("pre_tokenizer"), tokenizer_.pre_tokenizer);
    model(of_model);
    if (root_.has("normalizer")) steps_.normalizer(root_.object("normalizer"), tokenizer_.normalizer.steps);
    if (root_.has("decoder")) {
      tokenizer_.decoder.blanks = false;
      steps_.decoder(root_.object("decoder"), tokenizer_.decoder.steps);
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

  /// `tokenizers` passes over the ids of the file: a token that the vocabulary has keeps its id there,
  /// another one gets the next free one behind the vocabulary's size, in the order of the list.
  void added_tokens() {
    if (!root_.has("added_tokens")) return;
    auto next = static_cast<Index>(ids_.size());
    TextMap<std::size_t> known;  // the place in the list of added tokens
    std::set<std::string, std::less<>> special;
    std::size_t others = 0;
    std::string first_other;
    steps_.for_objects(root_, "added_tokens", [&](const JsonObject& json) {
      const Index said = json.integer("id", 0, most_tokens - 1);
      AddedToken token{.content = json.string("content"),
                       .single_word = json.boolean("single_word", false),
                       .lstrip = json.boolean("lstrip", false),
                       .rstrip = json.boolean("rstrip", false),
                       .normalized = json.boolean("normalized", true),
                       .special = json.boolean("special", false)};
      if (token.content.empty()) return;  // `tokenizers` passes over it too
      if (token.special) special.insert(token.content);
      const auto place = known.emplace(token.content, tokenizer_.added_tokens.size()).first->second;
      const bool repeated = place < tokenizer_.added_tokens.size();
      const auto in_vocabulary = ids_.find(token.content);
      if (repeated)
        token.id = tokenizer_.added_tokens[place].id;
      else if (in_vocabulary != ids_.end())
        token.id = in_vocabulary->second;
      else if (next < most_tokens)
        token.id = static_cast<std::int32_t>(next++);
      else
        fail(root_.file(), ": there are more than ", most_tokens, " tokens");
      if (token.id != said && others++ == 0)
        first_other = json.where("id") + " says " + std::to_string(said) + " for " +
                      in_quotes(token.content) + ", which is " + std::to_string(token.id);
      const auto id = static_cast<std::size_t>(token.id);
      auto& tokens = tokenizer_.tokens;
      if (id >= tokens.size()) tokens.resize(id + 1);
      if (!repeated) tokens[id] = token.content;
      if (token.normalized) tokens[id] = tokenizer_.normalizer(token.content);  // `tokenizers` decodes it so
      if (repeated)
        tokenizer_.added_tokens[place] = std::move(token);
      else
        tokenizer_.added_tokens.push_back(std::move(token));
    });
    tokenizer_.special.resize(tokenizer_.tokens.size());
    std::map<std::string, std::string> normalized;
    for (const AddedToken& token : tokenizer_.added_tokens) {  // decoding compares spellings
      const std::string sought = token.normalized ? tokenizer_.normalizer(token.content) : std::string();
      if (const auto [first, is_new] = normalized.emplace(sought, token.content); !is_new && !sought.empty())
        fail(root_.file(), ": the added tokens ", in_quotes(first->second), " and ", in_quotes(token.content),
             " are both ", in_quotes(sought), " when normalised: which of them is meant is not said");
      const auto id = static_cast<std::size_t>(token.id);
      tokenizer_.special[id] = special.count(*tokenizer_.tokens[id]) > 0;
    }
    if (others > 0)
      tokenizer_.warnings.push_back(
          root_.file() + ": " + first_other +
          (others > 1 ? " (and " + std::to_string(others - 1) + " more)" : "") +
          ": the ids of added tokens are those that the tokenizers library gives, which "
          "are the vocabulary's or the next ones behind it, in order");
  }

  void post_processor(const JsonObject& json) {
    const std::string type = json.string("type");
    if (type == "ByteLevel") return;  // offsets alone
    if (type == "Sequence")
      return steps_.for_objects(json, "processors", [&](const JsonObject& each) { post_processor(each); });
    if (type != "TemplateProcessing" && type != "RobertaProcessing" && type != "BertProcessing")
      steps_.refuse_type(json, type,
                         "Sequence, ByteLevel, TemplateProcessing, RobertaProcessing and BertProcessing");
    if (has_template_)  // to it the special tokens of the template are a text of their own
      fail(root_.file(), ": ", json.where("type"), " ", in_quotes(type),
           " behind a TemplateProcessing is not supported: a template must be the last that adds tokens");
    std::vector<std::int32_t> before, after;
    if (type == "TemplateProcessing") {
      has_template_ = true;
      post_template(json, before, after);
    } else {
      before = {named_id(json, "cls")};
      after = {named_id(json, "sep")};
    }
    tokenizer_.before.insert(tokenizer_.before.begin(), before.begin(), before.end());
    tokenizer_.after.insert(tokenizer_.after.end(), after.begin(), after.end());
  }

  void post_template(const JsonObject& json, std::vector<std::int32_t>& before,
                     std::vector<std::int32_t>& after) const {
    bool behind = false;
    steps_.for_objects(json, "single", [&](const JsonObject& piece) {
      if (piece.has("Sequence")) {
        if (behind || piece.object("Sequence").string("id") != "A")
          json.refuse("single", "a template with the sequence A once");
        behind = true;
        return;
      }
      const std::string name = piece.object("SpecialToken").string("id");
      const std::vector<Index> ids =
          json.object("special_tokens").object(name).integers("ids", 0, tokenizer_.vocab_size() - 1);
      for (const Index id : ids) (behind ? after : before).push_back(static_cast<std::int32_t>(id));
    });
    if (!behind) json.refuse("single", "a template with the sequence A once");
  }

  /// ["<s>", 0]: the id counts.
  std::int32_t named_id(const JsonObject& json, std::string_view key) const {
    const Json* const pair = json.find(key);
    const bool good = pair != nullptr && pair->is_array() && pair->size() == 2 && (*pair)[0].is_string();
    const std::optional<Index> id = good ? exact_integer((*pair)[1]) : std::nullopt;
    if (!id || *id < 0 || *id >= tokenizer_.vocab_size())
      json.refuse(
          key, "a token and its id, such as [\"<s>\", 0], below " + std::to_string(tokenizer_.vocab_size()));
    return static_cast<std::int32_t>(*id);
  }

  JsonObject root_;
  StepsReader steps_;
  Tokenizer tokenizer_;
  bool has_template_ = false;
  TextMap<std::int32_t> ids_;  // of the vocabulary, as tokenizer.json spells its tokens
};

}  // namespace detail

/// Reads a tokenizer.json, or that of a model's directory. Throws `Error` where it is malformed, or asks for
/// what midus does not do.
inline Tokenizer read_tokenizer(std::filesystem::path path) {
  std::error_code error;  // what cannot be looked up cannot be read either, and that says why
  if (std::filesystem::is_directory(path, error)) path /= "tokenizer.json";
  const Json json = read_json_file(path, {.bytes = std::size_t{512} << 20});
  return detail::TokenizerReader(json, path.string()).read();
}

}  // namespace midus
