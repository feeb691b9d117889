// What the programs that run a model share: loading, and opening token files for it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>

#include "command_line.hpp"
#include "midus/hf.hpp"
#include "midus/midus.hpp"

/// Throws where a weight is not finite: the first tensor that has one, by name. One such weight makes all
/// that follows it meaningless, and nothing downstream could say where it came from.
template <class Model>
void require_finite_weights(const Model& model, const std::string& directory) {
  model.visit([&](const midus::Path& path, const auto& parameter) {
    for (midus::Index i = 0; i < parameter.shape.size(); ++i)
      if (const double value = static_cast<double>(parameter.value.at(i)); !std::isfinite(value))
        midus::fail(directory, ": ", path.str(), " holds ", value, " (element ", i, " of ",
                    parameter.shape.size(), "); every weight must be finite");
  });
}

/// The model in a directory, with warnings on standard error.
template <class Config, class Device>
midus::LanguageModel<Config, Device> load_model(const std::string& directory, Device& device,
                                                bool store_bfloat16 = false) {
  auto model = midus::load<Config>(directory, device,
                                   {.say =
                                        [](const std::string& line) {
                                          if (line.starts_with("warning"))
                                            std::fprintf(stderr, "%s\n", line.c_str());
                                        },
                                    .store_bfloat16 = store_bfloat16});
  require_finite_weights(model, directory);
  return model;
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
