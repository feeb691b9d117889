// What the programs that run a model share: command line, errors, and loading.
#pragma once

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>

#include "midus/hf.hpp"
#include "midus/midus.hpp"

/// Parses the command line and does the work: 0, or 1 with a sentence on standard error.
template <class Work>
int run_program(CLI::App& app, int argc, char** argv, Work&& work) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;  // 0: --help
  }
  try {
    return work();
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error.what());
    return 1;
  }
}

inline void add_threads(CLI::App& app, int& threads) {
  app.add_option("--threads", threads, "0: all processors; the results are the same for any number")
      ->capture_default_str();
}

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
