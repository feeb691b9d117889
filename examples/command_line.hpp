// What all programs share: reading the command line, and telling of errors.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "midus/core/error.hpp"

/// Parses the command line and does the work: 0, or 1 with a sentence on standard error.
template <class Work>
int run_program(CLI::App& app, int argc, char** argv, Work&& work) {
  for (const CLI::Option* option : app.get_options())
    if (option->get_items_expected_max() > 1 && !option->get_positional())
      app.footer(
          "An option with several values takes all words up to the next option or --: give directories "
          "first.");
  try {
    app.parse(argc, argv);
    return work();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::string what = error.what();
    if (dynamic_cast<const CLI::ExtrasError*>(&error)) {  // CLI11 lists them backwards
      what = "not expected:";
      for (const std::string& word : app.remaining()) what += " " + word;
    }
    std::fprintf(stderr, "%s: %s\nRun with --help for more information.\n", app.get_name().c_str(),
                 what.c_str());
    return 1;
  } catch (const std::exception& error) {
    std::cout.flush();
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error.what());
    return 1;
  }
}

inline void add_threads(CLI::App& app, int& threads) {
  app.add_option("--threads", threads, "0: all processors; the results are the same for any number")
      ->capture_default_str();
}

/// `--store`: "f32" or "bf16".
inline void add_store(CLI::App& app, std::string& store) {
  app.add_option("--store", store, "Keep the weights as f32 or bf16; bf16 rounds them")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
}

/// `--seed`. CLI11 would take a number that is too large for the largest one, and 010 for 8.
inline void add_seed(CLI::App& app, std::uint64_t& seed, const std::string& help) {
  app.add_option_function<std::string>(
         "--seed",
         [&seed](const std::string& given) {
           const char* const end = given.data() + given.size();
           const auto [at, error] = std::from_chars(given.data(), end, seed);
           if (error != std::errc() || at != end)
             midus::fail("--seed must be an integer from 0 to 2^64 - 1, found \"", given, "\"");
         },
         help)
      ->type_name("UINT")
      ->default_str(std::to_string(seed));
}
