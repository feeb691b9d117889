// Reads the steps of a tokenizer.json: normalizers, pre-tokenizers, decoders. What midus does not do is
// refused by name.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/json_object.hpp"
#include "midus/text/decoder.hpp"
#include "midus/text/normalizer.hpp"
#include "midus/text/pre_tokenizer.hpp"

namespace midus::detail {

/// Reads parts of one file and appends what they say to lists of steps.
class StepsReader {
 public:
  explicit StepsReader(std::string file) : file_(std::move(file)) {}

  void normalizer(const JsonObject& json, std::vector<NormalizerStep>& steps) const {
    const std::string type = json.string("type");
    const auto side = [&](const char* key) {
      if (!json.has(key)) json.refuse(key, "true or false");
      return json.boolean(key, false);
    };
    if (type == "Sequence") {
      for_objects(json, "normalizers", [&](const JsonObject& each) { normalizer(each, steps); });
    } else if (type == "Prepend") {
      steps.emplace_back(PrependText{json.string("prepend")});
    } else if (type == "Replace") {
      const auto [literal, regex] = pattern(json);
      if (literal)
        steps.emplace_back(ReplaceText{*literal, json.string("content")});
      else
        steps.emplace_back(ReplaceMatches{*regex, json.string("content")});
    } else if (type == "NFC") {
      steps.emplace_back(NormalFormText{NormalForm::nfc});
    } else if (type == "NFD") {
      steps.emplace_back(NormalFormText{NormalForm::nfd});
    } else if (type == "NFKC") {
      steps.emplace_back(NormalFormText{NormalForm::nfkc});
    } else if (type == "NFKD") {
      steps.emplace_back(NormalFormText{NormalForm::nfkd});
    } else if (type == "Lowercase") {
      steps.emplace_back(LowerCaseText());
    } else if (type == "Strip") {
      steps.emplace_back(StripText{side("strip_left"), side("strip_right")});
    } else if (type == "StripAccents") {
      steps.emplace_back(StripAccentsText());
    } else if (type == "ByteLevel") {
      steps.emplace_back(ByteCharactersText());
    } else {
      refuse_type(
          json, type,
          "Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents and ByteLevel");
    }
  }

  /// True where the last of the pre-tokenizers, which `last` says that this one is, makes the vocabulary one
  /// of bytes.
  bool pre_tokenizer(const JsonObject& json, std::vector<PreTokenizerStep>& steps, bool last = true) const {
    const std::string type = json.string("type");
    bool byte_level = false;
    if (type == "Sequence") {
      const Json* const list = json.find("pretokenizers");
      std::size_t rest = list && list->is_array() ? list->size() : 0;
      for_objects(json, "pretokenizers", [&](const JsonObject& each) {
        byte_level = pre_tokenizer(each, steps, last && --rest == 0);
      });
    } else if (type == "ByteLevel") {
      if (json.boolean("add_prefix_space", true)) steps.emplace_back(PrefixSpaceStep());
      if (json.boolean("use_regex", true)) steps.emplace_back(SplitStep{.pattern = gpt2_pattern()});
      byte_level = last;
      if (!last) steps.emplace_back(ByteCharactersStep());  // for those behind it
    } else if (type == "Digits") {
      steps.emplace_back(DigitsStep{json.boolean("individual_digits", false)});
    } else if (type == "Split") {
      const auto [literal, regex] = pattern(json);
      steps.emplace_back(SplitStep{.pattern = regex ? *regex : Regex(escaped(*literal)),
                                   .behavior = behavior(json, json.string("behavior")),
                                   .invert = json.boolean("invert", false)});
    } else if (type == "Whitespace") {
      steps.emplace_back(whitespace_step());
    } else if (type == "WhitespaceSplit") {
      steps.emplace_back(whitespace_split_step());
    } else if (type == "Punctuation") {
      steps.emplace_back(punctuation_step(behavior(json, json.string("behavior", "Isolated"))));
    } else if (type == "BertPreTokenizer") {
      steps.emplace_back(whitespace_split_step());
      steps.emplace_back(punctuation_step(SplitBehavior::isolated));
    } else if (type == "CharDelimiterSplit") {
      const std::string delimiter = json.string("delimiter");
      if (!one_character(delimiter)) json.refuse("delimiter", "one character");
      steps.emplace_back(delimiter_step(first_character(delimiter).value));
    } else if (type == "FixedLength") {
      steps.emplace_back(fixed_length_step(json.integer("length", 1, 65535, 5)));
    } else if (type == "Metaspace") {
      const auto [replacement, prepend] = metaspace(json);
      steps.emplace_back(MetaspaceStep{replacement, prepend, json.boolean("split", true)});
    } else {
      refuse_type(json, type,
                  "Sequence, ByteLevel, Split, Digits, Metaspace, Whitespace, WhitespaceSplit, Punctuation, "
                  "BertPreTokenizer, CharDelimiterSplit and FixedLength");
    }
    return byte_level;
  }

  void decoder(const JsonObject& json, std::vector<DecoderStep>& steps) const {
    const std::string type = json.string("type");
    if (type == "Sequence") {
      for_objects(json, "decoders", [&](const JsonObject& each) { decoder(each, steps); });
    } else if (type == "ByteLevel") {
      steps.emplace_back(ByteLevelDecode());
    } else if (type == "ByteFallback") {
      steps.emplace_back(ByteFallbackDecode());
    } else if (type == "Fuse") {
      steps.emplace_back(FuseDecode());
    } else if (type == "Strip") {
      const std::string content = json.string("content", " ");
      if (!one_character(content)) json.refuse("content", "one character");
      steps.emplace_back(StripDecode{content, static_cast<std::size_t>(json.integer("start", 0, 1 << 20, 0)),
                                     static_cast<std::size_t>(json.integer("stop", 0, 1 << 20, 0))});
    } else if (type == "Metaspace") {
      const auto [replacement, prepend] = metaspace(json);
      steps.emplace_back(MetaspaceDecode{replacement, prepend != MetaspaceStep::Prepend::never});
    } else if (type == "Replace") {
      const auto [literal, regex] = pattern(json);
      if (!literal) fail(file_, ": ", json.where("pattern"), ": a regular expression is not supported here");
      steps.emplace_back(ReplaceText{*literal, json.string("content")});
    } else {
      refuse_type(json, type, "Sequence, ByteLevel, ByteFallback, Fuse, Strip, Metaspace and Replace");
    }
  }

  [[noreturn]] void refuse_type(const JsonObject& object, const std::string& type,
                                std::string_view known) const {
    fail(file_, ": ", object.where("type"), " ", in_quotes(type), " is not supported; supported are ", known);
  }

  /// Calls f(item) for every object of a list.
  template <class F>
  void for_objects(const JsonObject& object, std::string_view key, F&& f) const {
    const Json* const list = object.find(key);
    if (list == nullptr || !list->is_array()) object.refuse(key, "a list of objects");
    for (std::size_t i = 0; i < list->size(); ++i) {
      std::string name = object.where(key);  // in quotes
      name = name.substr(1, name.size() - 2) + "[" + std::to_string(i) + "]";
      f(JsonObject((*list)[i], file_, name));
    }
  }

 private:
  /// {"String": "..."} or {"Regex": "..."}.
  std::pair<std::optional<std::string>, std::optional<Regex>> pattern(const JsonObject& json) const {
    const JsonObject pattern = json.object("pattern");
    pattern.allow_only({"String", "Regex"});
    if (pattern.has("String") == pattern.has("Regex"))
      json.refuse("pattern", "{\"String\": ...} or {\"Regex\": ...}");
    if (pattern.has("String")) {
      const std::string literal = pattern.string("String");
      if (literal.empty()) fail(file_, ": ", pattern.where("String"), " is empty");
      return {literal, std::nullopt};
    }
    try {
      return {std::nullopt, Regex(pattern.string("Regex"))};
    } catch (const Error& error) {
      fail(file_, ": ", pattern.where("Regex"), ": ", error.what());
    }
  }

  SplitBehavior behavior(const JsonObject& json, const std::string& name) const {
    if (name == "Isolated") return SplitBehavior::isolated;
    if (name == "Removed") return SplitBehavior::removed;
    if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
    if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
    if (name == "Contiguous") return SplitBehavior::contiguous;
    json.refuse("behavior", "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
  }

  std::pair<std::string, MetaspaceStep::Prepend> metaspace(const JsonObject& json) const {
    const std::string scheme =
        json.string("prepend_scheme", json.boolean("add_prefix_space", true) ? "always" : "never");
    if (scheme != "always" && scheme != "never" && scheme != "first")
      json.refuse("prepend_scheme", "always, never or first");
    const std::string replacement = json.string("replacement", "\xe2\x96\x81");
    if (!one_character(replacement) || replacement == " ")
      json.refuse("replacement", "one character, not a blank");
    return {replacement, scheme == "always"  ? MetaspaceStep::Prepend::always
                         : scheme == "never" ? MetaspaceStep::Prepend::never
                                             : MetaspaceStep::Prepend::first};
  }

  static bool one_character(std::string_view text) {
    return !text.empty() && first_character(text).bytes == text.size();
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

  std::string file_;
};

}  // namespace midus::detail
