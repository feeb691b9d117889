// What the programs that run a model share: loading, and opening token files for it.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>

#include "byte_progress.hpp"
#include "command_line.hpp"
#include "midus/hf.hpp"
#include "midus/midus.hpp"

/// The model in a directory, with progress and warnings on standard error. Every weight must be finite: one
/// that is not makes all that follows it meaningless, and nothing downstream could say where it came from.
template <class Config, class Device>
midus::LanguageModel<Config, Device> load_model(const std::string& directory, Device& device,
                                                midus::LoadOptions options = {}) {
  if (!options.say)
    options.say = [](const std::string& line) {
      if (line.starts_with("warning")) std::fprintf(stderr, "%s\n", line.c_str());
    };
  options.require_finite = true;
  ByteProgress progress("loading");
  options.progress = std::ref(progress);
  return midus::load<Config>(directory, device, options);
}

/// Whether tokens are bytes: a vocabulary of 256 and no tokenizer beside the weights.
inline bool is_byte_model(const std::string& directory, midus::Index vocabulary) {
  return vocabulary == 256 && !std::filesystem::exists(std::filesystem::path(directory) / "tokenizer.json");
}

/// A token file for the model in a directory. Throws where it was made for another vocabulary or tokenizer.
inline midus::TokenFile open_tokens(const std::string& path, const std::filesystem::path& model,
                                    midus::Index vocabulary) {
  midus::TokenFile file(path);
  const std::filesystem::path tokenizer = model / "tokenizer.json";
  if (std::filesystem::exists(
          tokenizer))  // the model's table may be padded beyond the tokenizer's vocabulary
    file.expect(std::min(file.vocabulary(), vocabulary), midus::sha256_file(tokenizer));
  else
    file.expect(vocabulary);
  return file;
}
