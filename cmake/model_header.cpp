// Writes a model's shape, as a config.json says it, as a type: how `midus_add_model` makes a header of a
// configuration.
//
//     model_header CONFIG_OR_DIRECTORY --out FILE [--include HEADER]...
//     model_header CONFIG_OR_DIRECTORY --key
//
// The first writes the header, unless FILE holds it already; the second prints the shape's short name.
// HEADER is one of value policies that are not midus' own; this program then has to be compiled with it.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/llama_config_reader.hpp"

namespace {

std::string base_type(const midus::LlamaConfig& config) {
  using midus::text;
  std::string attention = text(config.num_attention_heads);
  if (config.num_key_value_heads != config.num_attention_heads)
    attention += text(", midus::KvHeads<", config.num_key_value_heads, ">");
  if (config.num_attention_heads * config.head_dim != config.hidden_size)
    attention += text(", midus::HeadDim<", config.head_dim, ">");
  return text("midus::Llama<midus::Vocab<", config.vocab_size, ">, midus::Width<", config.hidden_size,
              ">, midus::Layers<", config.num_hidden_layers, ">, midus::Attention<", attention,
              ">, midus::SwiGlu<", config.intermediate_size, ">",
              config.tie_word_embeddings ? ", midus::TiedHead>" : ">");
}

std::string memory_type(const midus::LlamaConfig& config) {
  using midus::text;
  if (!config.memory) return "void";
  const midus::MemoryConfig& memory = *config.memory;
  if (memory.kind == midus::MemoryConfig::Kind::pkm)
    return text("midus::ProductKeyMemory<", memory.memory_heads, ", /*Keys=*/", memory.num_keys,
                ", /*TopK=*/", memory.top_k, ", /*QueryDim=*/", memory.query_dim, ">");
  const midus::ValueKind& kind = *midus::find_value_kind(memory.value_policy);  // the reader refuses others
  if (kind.type.empty())
    midus::fail(config.file, ": the header of the values \"", memory.value_policy,
                "\" does not say their type: know_values<...>(\"TYPE\")");
  const std::string value = kind.ranked ? text(kind.type, "<", memory.value_rank, ">") : kind.type;
  return text("midus::HeadwiseMemory<", config.num_attention_heads, ", /*Keys=*/", memory.num_keys,
              ", /*TopK=*/", memory.top_k, ", ", value, ">");
}

/// No date, and no path but those of value policies, so that equal shapes have equal headers: their programs
/// are compiled once (ccache).
std::string header(const midus::LlamaConfig& config, const std::vector<std::string>& policies) {
  const std::string model = config.memory
                                ? "midus::Upscaled<Base, midus::MemoryBlock<Memory>, midus::BeforeLayers<" +
                                      midus::joined(config.memory->positions, ", ") + ">>"
                                : "Base";
  std::string includes;
  for (const std::string& policy : policies) includes += "#include \"" + policy + "\"\n";
  return "// A model's shape, written by model_header from its config.json. Do not edit.\n#pragma once\n\n"
         "#include \"midus/midus.hpp\"\n\n#include \"midus/hf.hpp\"\n" +
         includes +
         "\nnamespace midus_model {\n\n"
         "using Base = " +
         base_type(config) + ";\nusing Memory = " + memory_type(config) + ";\nusing Model = " + model +
         ";\ninline constexpr const char* shape = \"" + midus::shape_key(config) +
         "\";\n\n}  // namespace midus_model\n";
}

/// Leaves a file alone that holds these bytes already, so that nothing is compiled again for nothing.
void write_if_changed(const std::filesystem::path& path, const std::string& bytes) {
  if (std::ifstream old(path, std::ios::binary);
      old && std::string(std::istreambuf_iterator<char>(old), {}) == bytes)
    return;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out << bytes << std::flush;
  if (!out) midus::fail("cannot write ", path.string());
}

int usage() {
  std::cerr << "usage: model_header CONFIG_OR_DIRECTORY --out FILE [--include HEADER]... | --key\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[1] == "--key") {
    std::cout << midus::shape_key(midus::read_llama_config(arguments[0])) << "\n" << std::flush;
  } else if (arguments.size() % 2 == 1 && arguments.size() >= 3 && arguments[1] == "--out") {
    std::vector<std::string> policies;
    for (std::size_t i = 3; i < arguments.size(); i += 2) {
      if (arguments[i] != "--include") return usage();
      policies.emplace_back(arguments[i + 1]);
    }
    write_if_changed(arguments[2], header(midus::read_llama_config(arguments[0]), policies));
  } else {
    return usage();
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "model_header: " << error.what() << "\n";
  return 1;
}
