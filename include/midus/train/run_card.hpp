// The card (README.md) of a model that a run has made.
#pragma once

#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/version.hpp"
#include "midus/io/json.hpp"
#include "midus/io/like.hpp"
#include "midus/io/model_card.hpp"
#include "midus/layers/value_kinds.hpp"
#include "midus/train/checkpoint.hpp"
#include "midus/train/run_estimate.hpp"

namespace midus {

namespace detail {

/// A text from outside as code in Markdown, which it cannot leave.
inline std::string as_code(std::string_view text) {
  std::string out = Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
  for (char& c : out)
    if (c == '`') c = '\'';
  return "`" + out.substr(1, out.size() - 2) + "`";
}

/// Lines as a block of code, which nothing in them can end.
inline std::string as_code_block(const std::string& text) {
  std::istringstream lines(text);
  std::string out;
  for (std::string line; std::getline(lines, line);) out += "    " + line + "\n";
  return out + "\n";
}

/// The last part of a path as code.
inline std::string name_as_code(const std::string& path) {
  const std::filesystem::path whole = std::filesystem::path(path).lexically_normal();
  return as_code((whole.has_filename() ? whole.filename() : whole.parent_path().filename()).string());
}

inline std::string expansions_text(const std::vector<Expansion>& expansions) {
  std::string out = expansions.empty() ? "" : "\n## Up-scaling\n";
  for (const Expansion& expansion : expansions) {
    std::string blocks;
    for (const std::string& prefix : expansion.inserted) blocks += (blocks.empty() ? "" : ", ") + prefix;
    out += "- " + as_code(names_of(expansion.policy).name) + ", seed " + std::to_string(expansion.seed) +
           (blocks.empty() ? "" : ": " + as_code(blocks)) + "\n";
  }
  return out;
}

inline std::string data_text(const std::vector<DataPlace>& places, const Json& inputs) {
  std::string out = "## Data\n";
  for (const DataPlace& place : places)
    out += "- " + name_as_code(place.path) + text(": ", place.tokens, " tokens, SHA-256 ") +
           as_code(place.sha256) + "\n";
  if (inputs.contains("evaluations"))
    for (const Json& file : inputs["evaluations"])
      out += "- evaluated on " + as_code(file.at("name").get<std::string>()) + ": SHA-256 " +
             as_code(file.at("sha256").get<std::string>()) + "\n";
  return out;
}

/// The lines by which transformers opens the model, and PEFT trains it.
template <class Model>
std::string python_text(const Model& model, const LlamaConfig& config, bool has_tokenizer) {
  const std::string opened =
      std::string(".from_pretrained(directory") + (config.memory ? ", trust_remote_code=True)\n" : ")\n");
  std::set<std::string> tables;  // of memories, as PEFT names them
  model.visit([&](const Path&, const auto& parameter) {
    if (parameter.role == Role::table) tables.insert(text("\"memory.", parameter.name, "\""));
  });
  std::string targets;
  for (const std::string& table : tables) targets += (targets.empty() ? "" : ", ") + table;
  // PEFT merges no layer inside a module one of whose own parameters it targets.
  const bool projects_queries = config.memory && config.memory->kind == MemoryConfig::Kind::pkm;
  return "\n## In Python\n" +
         as_code_block(text("from transformers import AutoModelForCausalLM",
                            has_tokenizer ? ", AutoTokenizer" : "", "\n",
                            has_tokenizer ? "tokenizer = AutoTokenizer" + opened : "",
                            "model = AutoModelForCausalLM", opened)) +
         "LoRA by PEFT on all that multiplies" + (config.memory ? " and on the memories' values" : "") +
         ":\n\n" +
         as_code_block(text("from peft import LoraConfig, get_peft_model\n"
                            "settings = LoraConfig(task_type=\"CAUSAL_LM\", target_modules=\"all-linear\"",
                            config.memory ? ", target_parameters=[" + targets + "]" : "",
                            projects_queries ? ", exclude_modules=[\"query_proj\"]" : "",
                            ")\n"
                            "model = get_peft_model(model, settings)\n"));
}

/// The text of the card of the model that a run started from, where there is one.
inline std::string base_card(const ModelCard& base, const std::string& origin) {
  if (base.body.find_first_not_of(" \t\r\n") == base.body.npos) return "";
  return "## The card of " + origin + "\n\n" + base.body + (base.body.ends_with('\n') ? "" : "\n");
}

}  // namespace detail

/// Whether transformers can open a model: it is a Llama, or what its memories read has a class in Python.
inline bool python_opens(const LlamaConfig& config) {
  if (!config.memory || config.memory->kind == MemoryConfig::Kind::pkm) return true;
  const std::string& values = config.memory->value_policy;
  if (values == unnamed_value_policy(config.memory->value_rank)) return true;
  const ValueKind* const kind = find_value_kind(values);
  return kind != nullptr && !kind->python.empty();
}

/// The card of the model that a run of `trainer` made of `like`: licence, language and base model as the card
/// of `like` has them, what was done and trained, options, data by their hashes, the lines that open it in
/// Python, and below them the text of that other card. `inputs`: what the run reads beside its data
/// (`save_checkpoint`). No path gets into it, only names of files.
template <class Model>
std::string model_card(const Trainer<Model>& trainer, const Like& like, const Json& inputs = Json::object()) {
  const ModelCard base = read_model_card(like.other_file(model_card_name));
  std::vector<std::pair<std::string, std::vector<std::string>>> head = {
      {"library_name", {"transformers"}}, {"pipeline_tag", {"text-generation"}}};
  for (const char* const key : {"license", "license_name", "license_link", "language", "base_model"})
    if (const auto found = base.head.find(key); found != base.head.end()) head.emplace_back(*found);
  head.push_back({"tags", {"midus"}});

  const Model& model = trainer.model();
  const std::string origin = like ? detail::name_as_code(like.directory().string()) : "";
  std::string out = model_card_head(head) + "# Model card\n\n";
  out += text("Made by midus ", version_string,
              origin.empty()       ? ""
              : like.has_weights() ? " from " + origin
                                   : " from random weights, in the shape of " + origin,
              ": ", trainer.state().step, " steps, ", trainer.state().tokens, " tokens.\n");
  if (!base.head.contains("license"))
    out += "\nThe licence is not known here: " +
           (origin.empty() ? "there was no other model" : origin + " has no card that names one") + ".\n";
  out += detail::expansions_text(model.expansions);
  out += "\n## Training\n" + detail::as_code_block(describe_trained(model));
  out += "Options:\n\n" + detail::as_code_block(dump_json(
                              detail::options_json(trainer.options(), trainer.optimizer().settings())));
  out += detail::data_text(trainer.batches().places(), inputs);
  const LlamaConfig config = config_of(model);
  out += python_opens(config) ? detail::python_text(model, config, !like.other_file("tokenizer.json").empty())
                              : "\n";
  return out + detail::base_card(base, origin);
}

}  // namespace midus
