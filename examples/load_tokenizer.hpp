// A tokenizer, as the programs open it.
#pragma once

#include <filesystem>
#include <iostream>
#include <string>

#include "midus/text/tokenizer_reader.hpp"

/// The tokenizer of a tokenizer.json, or of a directory with one; what midus reads otherwise than the file
/// says is told on standard error.
inline midus::Tokenizer load_tokenizer(const std::filesystem::path& path) {
  midus::Tokenizer tokenizer = midus::read_tokenizer(path);
  for (const std::string& warning : tokenizer.warnings) std::cerr << "warning: " << warning << "\n";
  return tokenizer;
}
