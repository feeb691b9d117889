// The Python code that goes with a model with Memory blocks, so that transformers opens it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "midus/io/atomic_file.hpp"
#include "midus/io/python_sources.hpp"

namespace midus {

inline constexpr std::string_view configuration_midus_name = "configuration_midus.py";
inline constexpr std::string_view modeling_midus_name = "modeling_midus.py";

/// The classes in them that transformers opens a model by, as config.json's `auto_map` names them.
inline constexpr std::pair<const char*, const char*> midus_auto_map[] = {
    {"AutoConfig", "configuration_midus.MidusConfig"},
    {"AutoModel", "modeling_midus.MidusModel"},
    {"AutoModelForCausalLM", "modeling_midus.MidusForCausalLM"}};

/// Writes both files into a directory. `own` is the code of a value policy that is not midus' own: a class,
/// and the line that enters it into the table `MEMORIES`.
inline void write_python_files(const std::filesystem::path& directory, std::string_view own = {}) {
  write_file(directory / configuration_midus_name, configuration_midus_py);
  std::string code(modeling_midus_py);
  if (!own.empty()) code += "\n" + std::string(own);
  write_file(directory / modeling_midus_name, code);
}

}  // namespace midus
