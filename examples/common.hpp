// What the programs that run a model share: loading, and opening token files for it.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "byte_progress.hpp"
#include "command_line.hpp"
#include "midus/hf.hpp"
#include "midus/midus.hpp"
#include "midus/train/run_directory.hpp"

/// The config.json of a model that this program is built for.
template <class Config>
midus::LlamaConfig model_config(const std::string& directory) {
  midus::refuse_run(directory);
  midus::LlamaConfig config = midus::read_llama_config(directory);
  midus::check_shape<Config>(config, directory);
  return config;
}

/// Throws where `what`, which has so many tokens, is longer than the model can read.
inline void check_positions(const std::string& what, midus::Index length, midus::Index positions) {
  if (length > positions)
    midus::fail(what, ": the model knows ", positions, " positions (max_position_embeddings), found ",
                length);
}

/// Tokens of a window: --length, or `usual` where the model knows so many positions.
inline midus::Index window_length(std::optional<midus::Index> given, midus::Index usual,
                                  midus::Index positions) {
  if (given) check_positions("--length", *given, positions);
  return given.value_or(std::min(usual, positions));
}

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
  return vocabulary == 256 && !midus::may_exist(std::filesystem::path(directory) / "tokenizer.json");
}

/// A token file for the model in a directory. Throws where it was made for another vocabulary or tokenizer.
inline midus::TokenFile open_tokens(const std::string& path, const std::filesystem::path& model,
                                    midus::Index vocabulary) {
  midus::TokenFile file(path);
  const std::filesystem::path tokenizer = model / "tokenizer.json";
  if (midus::may_exist(tokenizer))  // the model's table may be padded beyond the tokenizer's vocabulary
    file.expect(std::min(file.vocabulary(), vocabulary), midus::sha256_file(tokenizer));
  else
    file.expect(vocabulary);
  return file;
}

/// NAME=VALUE, as options give it.
inline std::pair<std::string, std::string> name_and_value(const std::string& option, const std::string& given,
                                                          const std::string& form = "NAME=VALUE") {
  const std::size_t equals = given.find('=');
  if (equals == 0 || equals == given.npos || equals + 1 == given.size())
    midus::fail(option, ": expected ", form, ", found \"", given, "\"");
  return {given.substr(0, equals), given.substr(equals + 1)};
}

/// Token files to evaluate a model on, as an option gives them: NAME=FILE, every name once; of each the first
/// `limit` tokens, 0: all.
inline std::vector<std::pair<std::string, midus::EvaluationBatches>> open_evaluations(
    const std::string& option, const std::vector<std::string>& given, const std::filesystem::path& model,
    midus::Index vocabulary, midus::Index length, midus::Index limit = 0) {
  std::vector<std::pair<std::string, midus::EvaluationBatches>> files;
  for (const std::string& each : given) {
    const auto [name, path] = name_and_value(option, each, "NAME=FILE");
    for (const auto& [known, batches] : files)
      if (known == name) midus::fail(option, ": two files have the name \"", name, "\"");
    files.emplace_back(name, midus::EvaluationBatches(open_tokens(path, model, vocabulary), length, limit));
  }
  return files;
}
