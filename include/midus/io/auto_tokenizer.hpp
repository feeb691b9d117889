// Where Python's AutoTokenizer gives other ids than tokenizer.json.
//
// In transformers 5 some tokenizer classes take vocabulary and merges of tokenizer.json, and build the rest
// anew as they always have it. Where the file says otherwise, tokens differ; nobody says so there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json.hpp"
#include "midus/io/mapped_file.hpp"

namespace midus {

namespace detail {

/// Tokenizer classes of transformers 5 that build their own steps for vocabularies of the BPE kind, each with
/// its normalizer, its pre-tokenizers as JSON lists, and the special tokens that it has where none are named.
struct RebuildingClass {
  std::string_view name, normalizer, pre_tokenizer;
  std::string_view unk, bos, eos, pad;
};
inline constexpr std::string_view gpt2_steps = R"([{"type": "ByteLevel", "prefix": false, "regex": true}])";
inline constexpr RebuildingClass rebuilding_classes[] = {
    {"GPT2Tokenizer", "[]", gpt2_steps, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", ""},
    {"CodeGenTokenizer", "[]", gpt2_steps, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", ""},
    {"GPTNeoXTokenizer", R"([{"type": "NFC"}])", gpt2_steps, "<|endoftext|>", "<|endoftext|>",
     "<|endoftext|>", "<|padding|>"},
    {"CohereTokenizer", R"([{"type": "NFC"}])",
     R"([{"type": "Digits", "individual": true}, {"type": "ByteLevel", "prefix": false, "regex": true}])",
     "<UNK>", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "<PAD>"},
    {"Qwen2Tokenizer", R"([{"type": "NFC"}])",
     R"([{"type": "Split", "pattern": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, {"type": "ByteLevel", "prefix": false, "regex": false}])",
     "<|endoftext|>", "", "<|endoftext|>", "<|endoftext|>"},
    {"Qwen3_5Tokenizer", R"([{"type": "NFC"}])",
     R"([{"type": "Split", "pattern": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, {"type": "ByteLevel", "prefix": false, "regex": false}])",
     "<|endoftext|>", "", "<|endoftext|>", "<|endoftext|>"},
    {"LlamaTokenizer", "[]", R"([{"type": "Metaspace", "scheme": "first"}])", "<unk>", "<s>", "</s>", ""},
    {"CodeLlamaTokenizer", "[]", R"([{"type": "Metaspace", "scheme": "first"}])", "<unk>", "<s>", "</s>", ""},
    {"GemmaTokenizer", R"([{"type": "Replace", "pattern": " ", "content": "▁"}])",
     R"([{"type": "Split", "pattern": " ", "behavior": "MergedWithPrevious"}])", "<unk>", "<bos>", "<eos>",
     "<pad>"}};

inline std::string string_or(const Json& object, const char* key, const std::string& usual) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : usual;
}

/// Steps without what says the same of all of them, one after the other: as they are written above.
inline void append_steps(const Json& step, Json& steps) {
  if (!step.is_object()) return;
  const std::string type = string_or(step, "type", "");
  for (const char* const list : {"normalizers", "pretokenizers"})
    if (type == "Sequence" && step.contains(list) && step[list].is_array())
      for (const Json& each : step[list]) append_steps(each, steps);
  if (type == "Sequence") return;
  const auto flag = [&](const char* key, bool usual) {
    return step.contains(key) && step[key].is_boolean() ? step[key].get<bool>() : usual;
  };
  Json same{{"type", type}};
  if (type == "ByteLevel") {
    same["prefix"] = flag("add_prefix_space", true);
    same["regex"] = flag("use_regex", true);
  } else if (type == "Digits") {
    same["individual"] = flag("individual_digits", false);
  } else if (type == "Metaspace") {
    same["scheme"] = string_or(step, "prepend_scheme", flag("add_prefix_space", true) ? "always" : "never");
    if (flag("split", true)) same["split"] = true;
  } else {
    for (const auto& [key, value] : step.items()) {
      if (key == "pattern" && value.is_object() && value.size() == 1)
        same[key] = value.front();
      else if (key != "type" && !(key == "invert" && value == false) &&
               !(key == "behavior" && value == "Isolated"))
        same[key] = value;
    }
  }
  steps.push_back(std::move(same));
}

/// A directory's tokenizer_config.json, and the class that it names where that builds its own steps.
struct TokenizerConfig {
  Json json;
  std::string text;
  std::string class_name;                  // as it is spelt
  const RebuildingClass* known = nullptr;  // none: the class takes all of tokenizer.json
};

/// What a file says, where that is an object; else null: who reads the file says what is wrong with it.
inline Json object_or_null(std::string_view text, const std::filesystem::path& file) {
  try {
    Json json = parse_json(text, file.string(), {.bytes = std::size_t{512} << 20});
    return json.is_object() ? json : Json();
  } catch (const Error&) {
    return {};
  }
}
inline std::optional<TokenizerConfig> tokenizer_config(const std::filesystem::path& directory) {
  std::error_code error;
  const std::filesystem::path file = directory / "tokenizer_config.json";
  if (!std::filesystem::is_regular_file(file, error)) return std::nullopt;
  TokenizerConfig config;
  config.text = MappedFile(file).text();
  config.json = object_or_null(config.text, file);
  if (!config.json.is_object() || config.json.contains("auto_map")) return std::nullopt;
  config.class_name = string_or(config.json, "tokenizer_class", "");
  std::string_view plain = config.class_name;
  if (plain.ends_with("Fast")) plain.remove_suffix(4);
  for (const RebuildingClass& known : rebuilding_classes)
    if (plain == known.name) config.known = &known;
  return config;
}

/// Whether the class builds other steps than tokenizer.json has.
inline bool builds_other_steps(const TokenizerConfig& named, const Json& tokenizer) {
  if (named.known == nullptr) return false;
  const Json& config = named.json;
  Json normalizer = Json::array(), pre_tokenizer = Json::array();
  if (tokenizer.contains("normalizer")) append_steps(tokenizer["normalizer"], normalizer);
  if (tokenizer.contains("pre_tokenizer")) append_steps(tokenizer["pre_tokenizer"], pre_tokenizer);
  const bool bytes = pre_tokenizer.dump().find("\"ByteLevel\"") != std::string::npos;
  if (named.known->name == "LlamaTokenizer" && bytes) return false;  // transformers takes the file for these
  Json own = Json::parse(named.known->pre_tokenizer);
  const auto prefix = config.find("add_prefix_space");
  for (Json& step : own) {
    if (step.contains("prefix") && prefix != config.end()) step["prefix"] = *prefix == true;
    if (step.contains("scheme")) {
      const bool legacy = config.contains("legacy") && config["legacy"] == true;
      step["scheme"] = prefix != config.end() && *prefix == false ? "never" : legacy ? "always" : "first";
    }
  }
  const auto differ = [](const Json& a, const Json& b) {  // in whatever order their members are
    return nlohmann::json(a) != nlohmann::json(b);
  };
  const auto model = tokenizer.find("model");
  const bool ignores_merges = model != tokenizer.end() && model->is_object() &&
                              model->contains("ignore_merges") && (*model)["ignore_merges"] == true;
  return ignores_merges || differ(normalizer, Json::parse(named.known->normalizer)) ||
         differ(pre_tokenizer, own);
}

inline Json tokenizer_json(const std::filesystem::path& directory) {
  std::error_code error;
  const std::filesystem::path file = directory / "tokenizer.json";
  if (!std::filesystem::is_regular_file(file, error)) return {};
  return object_or_null(MappedFile(file).text(), file);
}

inline constexpr std::string_view class_before = "tokenizer_class_before_midus";

/// Where the value of a member lies in a text, quotes and all: of its first "key": "value".
inline std::optional<std::pair<std::size_t, std::size_t>> text_value(std::string_view text,
                                                                     std::string_view key) {
  const std::string name = "\"" + std::string(key) + "\"";
  const auto blanks = [&](std::size_t at) {
    return std::min(text.find_first_not_of(" \t\r\n", at), text.size());
  };
  for (std::size_t at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    std::size_t begin = blanks(at + name.size());
    if (begin >= text.size() || text[begin] != ':') continue;
    begin = blanks(begin + 1);
    if (begin >= text.size() || text[begin] != '"') continue;
    const std::size_t end = text.find('"', begin + 1);
    if (end != text.npos) return std::pair(begin, end + 1);
  }
  return std::nullopt;
}

}  // namespace detail

/// Why Python's AutoTokenizer gives other ids than the tokenizer.json of a directory, as a sentence; "" where
/// midus knows of no reason.
inline std::string why_python_differs(const std::filesystem::path& directory) {
  const auto config = detail::tokenizer_config(directory);
  if (!config) return "";
  const Json tokenizer = detail::tokenizer_json(directory);
  if (!tokenizer.is_object()) return "";
  if (!detail::builds_other_steps(*config, tokenizer)) return "";
  return text(
      (directory / "tokenizer_config.json").string(), ": the class ", config->class_name,
      " builds other steps than tokenizer.json has, so AutoTokenizer of transformers 5 gives other tokens "
      "than midus for some texts; PreTrainedTokenizerFast.from_pretrained gives those of tokenizer.json");
}

/// Lets AutoTokenizer open the directory of a model with Memory blocks with the ids of its tokenizer.json:
/// where it would not, tokenizer_config.json names PreTrainedTokenizerFast, and beside it the class that was
/// there and those of its special tokens that the file does not name.
inline void let_python_keep_ids(const std::filesystem::path& directory) {
  const auto config = detail::tokenizer_config(directory);
  if (!config) return;
  const Json tokenizer = detail::tokenizer_json(directory);
  if (!tokenizer.is_object()) return;
  std::string text = config->text;
  const auto place = detail::text_value(text, "tokenizer_class");
  if (place && detail::builds_other_steps(*config, tokenizer)) {
    std::string instead = "\"PreTrainedTokenizerFast\"";
    const auto knows = [&](const std::string& token) {
      const Json::json_pointer vocabulary("/model/vocab");
      if (tokenizer.contains(vocabulary) && tokenizer.at(vocabulary).contains(token)) return true;
      const auto added = tokenizer.find("added_tokens");
      return added != tokenizer.end() && added->is_array() &&
             std::any_of(added->begin(), added->end(), [&](const Json& each) {
               return each.is_object() && each.contains("content") && each["content"] == token;
             });
    };
    for (const auto& [key, token] : {std::pair("unk_token", config->known->unk),
                                     {"bos_token", config->known->bos},
                                     {"eos_token", config->known->eos},
                                     {"pad_token", config->known->pad}})
      if (!config->json.contains(key) && !token.empty() && knows(std::string(token)))
        instead += ",\n  \"" + std::string(key) + "\": " + Json(std::string(token)).dump();
    instead += ",\n  \"" + std::string(detail::class_before) + "\": " + Json(config->class_name).dump();
    text.replace(place->first, place->second - place->first, instead);
  }
  if (text != config->text) write_file(directory / "tokenizer_config.json", text);
}

/// Takes back what `let_python_keep_ids` did, byte for byte.
inline void restore_tokenizer_config(const std::filesystem::path& directory) {
  const auto config = detail::tokenizer_config(directory);
  if (!config) return;
  std::string text = config->text;
  const auto now = detail::text_value(text, "tokenizer_class"),
             before = detail::text_value(text, std::string(detail::class_before));
  if (now && before && before->first > now->first) {
    const std::string name = text.substr(before->first, before->second - before->first);
    text.replace(now->first, before->second - now->first, name);
  }
  if (text != config->text) write_file(directory / "tokenizer_config.json", text);
}

}  // namespace midus
