// What a model's directory says of generating text.
#pragma once

#include <filesystem>
#include <vector>

#include "midus/io/json_object.hpp"
#include "midus/io/llama_config.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/mapped_file.hpp"

namespace midus {

/// The tokens that end a text: `eos_token_id` (a number or a list) of the directory's generation_config.json,
/// which transformers goes by, or where it names none, that of config.json. Throws `Error` where the file is
/// malformed or names a token that the vocabulary has not.
inline std::vector<Index> read_end_tokens(const std::filesystem::path& directory, const LlamaConfig& config) {
  std::vector<Index> ids;
  const std::filesystem::path file = directory / "generation_config.json";
  if (may_exist(file)) {
    const Json json = read_json_file(file);
    ids = read_token_ids(JsonObject(json, file.string()), "eos_token_id", config.vocab_size);
  }
  return ids.empty() ? config.eos_token_ids : ids;
}

}  // namespace midus
