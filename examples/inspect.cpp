// Says what a directory or a file is: a model (its kind, shape, parameters and inserted blocks, files and
// tokenizer, and what would train), a training checkpoint, or a token file.
//
//     inspect llama-midus/        inspect run/step-00000100/        inspect text.train.bin --json text.json
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "command_line.hpp"
#include "midus/io/auto_tokenizer.hpp"
#include "midus/tokenizer.hpp"
#include "midus/train/progress.hpp"
#include "midus/train/run_directory.hpp"
#include "midus/train/token_file.hpp"
#include "midus/upscale/expand_files.hpp"
#include "midus/upscale/plan_text.hpp"

namespace mi = midus;
namespace fs = std::filesystem;
using mi::Index;
using mi::Json;

namespace {

std::string count_of(const Json& number) { return mi::grouped(number.get<std::uint64_t>()); }

void line(const std::string& name, const std::string& value) {
  std::cout << name << std::string(name.size() < 16 ? 16 - name.size() : 1, ' ') << value << "\n";
}

std::string title(mi::Policy policy) { return std::string(mi::names_of(policy).title); }

/// "base", "MIDUS", "LLaMA-Pro, then MIDUS"
std::string model_kind(const mi::LlamaConfig& config) {
  std::string kind;
  for (const mi::Expansion& expansion : config.history)
    kind += (kind.empty() ? "" : ", then ") + title(expansion.policy);
  if (!kind.empty()) return kind;
  if (!config.memory) return "base";
  const bool hml = config.memory->kind == mi::MemoryConfig::Kind::hml;
  return title(hml ? mi::Policy::midus : mi::Policy::pkm) + ", of which config.json has no history";
}

/// The expansion that inserted a tensor's block; null where it is the base's.
const mi::Expansion* inserted_by(const mi::LlamaConfig& config, std::string_view name) {
  for (const mi::Expansion& expansion : config.history)
    for (const std::string& prefix : expansion.inserted)
      if (name.starts_with(prefix)) return &expansion;
  return nullptr;
}

/// Which part of a model a tensor belongs to.
const char* part_of(const mi::LlamaConfig& config, const mi::ParameterShape& parameter) {
  const std::string& name = parameter.name;
  if (name.starts_with(mi::memory_block_prefix) || inserted_by(config, name)) return "inserted";
  if (parameter.role == mi::Role::embedding) return "embedding";
  if (name == mi::head_name) return "head";
  if (parameter.role == mi::Role::norm) return "norms";
  return name.find(".self_attn.") != name.npos ? "attention" : "feed_forward";
}

Json shape_json(const mi::LlamaConfig& config) {
  Json shape = Json::object();
  for (const mi::ShapeField& field : mi::shape_fields(config))
    shape[field.name] = field.is_text ? Json(field.value) : mi::parse_json(field.value, "inspect");
  shape["max_position_embeddings"] = config.max_position_embeddings;
  shape["rms_norm_eps"] = config.rms_norm_eps;
  shape["rope"] = {{"rope_type", config.rope.llama3 ? "llama3" : "default"},
                   {"rope_theta", config.rope.theta}};
  if (const auto& llama3 = config.rope.llama3) {
    shape["rope"]["factor"] = llama3->factor;
    shape["rope"]["low_freq_factor"] = llama3->low_freq_factor;
    shape["rope"]["high_freq_factor"] = llama3->high_freq_factor;
    shape["rope"]["original_max_position_embeddings"] = llama3->original_max_position_embeddings;
  }
  return shape;
}

/// Parameters by part, and the blocks that were inserted.
void count_parameters(const mi::LlamaConfig& config, Json& report) {
  Json& parts = report["parameters"] = Json::object();
  for (const char* const part :
       {"embedding", "attention", "feed_forward", "norms", "head", "inserted", "all"})
    parts[part] = 0;
  Json& blocks = report["inserted_blocks"] = Json::array();
  for (const mi::ParameterShape& parameter : mi::parameter_shapes(config)) {
    const std::string& name = parameter.name;
    const Index count = mi::element_count(parameter.shape);
    const std::string part = part_of(config, parameter);
    parts[part] = parts[part].get<Index>() + count;
    parts["all"] = parts["all"].get<Index>() + count;
    if (part != "inserted") continue;
    const mi::BlockTensor tensor(name);
    const std::string block = mi::block_name(tensor.prefix, tensor.number);
    if (blocks.empty() || blocks.back()["block"] != block) {
      const mi::Expansion* const expansion = inserted_by(config, name);
      Json& last = blocks.emplace_back(Json{{"block", block}});
      last["policy"] = expansion ? Json(std::string(mi::names_of(expansion->policy).name)) : Json();
      if (tensor.prefix == mi::memory_block_prefix)
        last["before_layer"] = config.memory->positions[static_cast<std::size_t>(tensor.number)];
      else
        last["after_layer"] = tensor.number - 1;
      last["parameters"] = 0;
    }
    blocks.back()["parameters"] = blocks.back()["parameters"].get<Index>() + count;
  }
}

/// How many parameters `cpt --train WANTED` trains, or why it refuses.
Json trained_by(const mi::LlamaConfig& config, const std::string& wanted) try {
  const std::vector<std::string> patterns = mi::train_patterns(config.history, {wanted});
  Index count = 0;
  for (const mi::ParameterShape& parameter : mi::parameter_shapes(config))
    if (std::any_of(patterns.begin(), patterns.end(),
                    [&](const auto& pattern) { return mi::matches(pattern, parameter.name); }))
      count += mi::element_count(parameter.shape);
  return count;
} catch (const mi::Error& error) {
  return error.what();
}

void describe_files(const mi::LlamaConfig& config, const fs::path& directory, Json& report) {
  const auto parameters = report["parameters"]["all"].get<Index>();
  report["bytes"] = {{"on_disk", Json()}, {"float32", 4 * parameters}, {"bfloat16", 2 * parameters}};
  report["files"] = Json::array();
  report["dtypes"] = Json::object();
  report["warnings"] = Json::array();
  if (!mi::holds_weights(directory)) return;
  const mi::CheckpointFiles files(directory);
  for (const std::string& warning : files.warnings()) report["warnings"].push_back(warning);
  for (const std::string& warning : mi::check_tensors(config, files)) report["warnings"].push_back(warning);
  std::uintmax_t all = 0;
  for (const mi::SafetensorsFile& file : files.files()) {
    const std::uintmax_t bytes = fs::file_size(file.path());
    report["files"].push_back(
        {{"file", file.path().filename().string()}, {"bytes", bytes}, {"tensors", file.tensors().size()}});
    all += bytes;
  }
  report["bytes"]["on_disk"] = all;
  for (const auto& [name, located] : files.tensors()) {
    Json& tensors = report["dtypes"][std::string(mi::to_string(located.tensor->dtype))];
    tensors = tensors.is_null() ? 1 : tensors.get<Index>() + 1;
  }
}

/// The tokenizer beside a model, and what is wrong with it; adds to the warnings.
Json describe_tokenizer(const mi::LlamaConfig& config, const fs::path& directory, Json& warnings) {
  const fs::path file = directory / "tokenizer.json";
  Json json = Json::object();
  if (!fs::exists(file)) {
    json["kind"] = config.vocab_size == 256 ? "bytes" : "none";
    return json;
  }
  json["sha256"] = mi::to_hex(mi::sha256_file(file));
  try {
    const mi::Tokenizer tokenizer = mi::read_tokenizer(file);
    for (const std::string& warning : tokenizer.warnings) warnings.push_back(warning);
    json["kind"] = tokenizer.model.byte_level      ? "byte-level BPE"
                   : tokenizer.model.byte_fallback ? "BPE with byte fallback"
                                                   : "BPE";
    json["tokens"] = tokenizer.vocab_size();
    json["fits"] = tokenizer.vocab_size() <= config.vocab_size;
    if (const std::string reason = mi::why_python_differs(directory); !reason.empty())
      warnings.push_back(reason);
  } catch (const mi::Error& error) {
    json["kind"] = "unusable";
    json["error"] = error.what();
  }
  return json;
}

/// trainer.json of a training checkpoint.
Json describe_training(const fs::path& file) {
  const Json json = mi::read_json_file(file);
  const mi::JsonObject trainer(json, file.string());
  trainer.integer("version", 1, 1);
  constexpr Index most = std::numeric_limits<Index>::max();
  const mi::JsonObject options = trainer.object("options");
  Json out = Json::object();
  out["step"] = trainer.integer("step", 0, most);
  out["steps"] = options.integer("steps", 0, most);
  out["tokens"] = trainer.integer("tokens", 0, most);
  if (!options.has("seed")) options.refuse("seed", "an integer");
  out["seed"] = *options.find("seed");
  out["trained_tensors"] = trainer.strings("trained").size();
  if (trainer.has("best")) out["best"] = *trainer.find("best");
  const mi::SafetensorsFile moments(file.parent_path() / "optimizer.safetensors");
  out["optimizer_bytes"] = fs::file_size(moments.path());
  return out;
}

Json describe_model(const fs::path& path) {
  const fs::path directory = fs::is_directory(path) ? path : path.parent_path();
  mi::refuse_run(path);
  const mi::LlamaConfig config = mi::read_llama_config(path);
  Json report = Json::object();
  report["path"] = path.string();
  report["kind"] = "model";
  report["model"] = model_kind(config);
  report["shape"] = shape_json(config);
  report["expansions"] = mi::history_to_json(config.history)["history"];
  count_parameters(config, report);
  for (const std::string& wanted : {mi::inserted, mi::inserted_all, mi::everything})
    report["train"][wanted] = trained_by(config, wanted);
  describe_files(config, directory, report);
  report["tokenizer"] = describe_tokenizer(config, directory, report["warnings"]);
  if (fs::exists(directory / "trainer.json"))
    report["training"] = describe_training(directory / "trainer.json");
  return report;
}

/// The first tokens of a file as text; null where its tokenizer is not known. A wrong one is seen at once.
Json first_text(const mi::TokenFile& file, const fs::path& tokenizer_path) {
  const bool bytes = file.header().tokenizer == mi::Sha256Digest{};
  std::vector<std::int32_t> ids(static_cast<std::size_t>(std::min<Index>(file.size(), bytes ? 80 : 20)));
  file.read(0, ids);
  if (bytes) {
    std::string text;
    for (const std::int32_t id : ids) text += static_cast<char>(static_cast<unsigned char>(id));
    return file.vocabulary() == 256 ? Json(mi::replace_invalid_utf8(text)) : Json();
  }
  if (tokenizer_path.empty()) return {};
  const fs::path json = fs::is_directory(tokenizer_path) ? tokenizer_path / "tokenizer.json" : tokenizer_path;
  file.expect(file.vocabulary(), mi::sha256_file(json));
  return mi::read_tokenizer(json).decode(ids, false);
}

Json describe_tokens(const fs::path& path, const fs::path& tokenizer) {
  mi::refuse_other_models(path);
  const mi::TokenFile file(path);
  Json report = Json::object();
  report["path"] = path.string();
  report["kind"] = "token file";
  report["tokens"] = file.size();
  report["vocabulary"] = file.vocabulary();
  report["bytes_per_token"] = file.header().bytes_per_token();
  const bool bytes = file.header().tokenizer == mi::Sha256Digest{};
  report["tokenizer_sha256"] = bytes ? Json() : Json(mi::to_hex(file.header().tokenizer));
  report["weighted"] = file.weighted();
  report["masked"] = file.size() - file.counted();
  report["text_bytes"] = file.text_bytes() ? Json(*file.text_bytes()) : Json();
  report["first_text"] = first_text(file, tokenizer);
  return report;
}

std::string scaled(const Json& bytes) { return mi::count_text(bytes.get<double>()) + "B"; }

void print_model(const Json& report) {
  const Json &shape = report["shape"], &parameters = report["parameters"], &rope = shape["rope"];
  line("model", report["model"].get<std::string>());
  line("shape", mi::text(shape["num_hidden_layers"], " layers, d ", shape["hidden_size"], ", ",
                         shape["num_attention_heads"], " heads and ", shape["num_key_value_heads"],
                         " kv heads of ", shape["head_dim"], ", f ", shape["intermediate_size"]));
  line("vocabulary",
       count_of(shape["vocab_size"]) +
           (shape["tie_word_embeddings"] == true ? ", head tied to the embedding" : ", head of its own"));
  std::string memory;
  for (auto item = shape.begin(); item != shape.end(); ++item)
    if (item.key() == "midus.memory")
      memory = item->get<std::string>();
    else if (item.key().starts_with("midus."))
      memory += ", " + item.key().substr(6) + " " +
                (item->is_string() ? item->get<std::string>() : mi::found_text(*item));
  if (!memory.empty()) line("memory", memory);
  line("max positions", count_of(shape["max_position_embeddings"]));
  std::string rotary = mi::text(rope["rope_type"].get<std::string>());
  for (auto item = rope.begin(); item != rope.end(); ++item)
    if (item.key() != "rope_type") rotary += mi::text(", ", item.key(), " ", item->get<double>());
  line("rope", rotary);
  line("parameters", count_of(parameters["all"]));
  for (auto item = parameters.begin(); item != parameters.end(); ++item)
    if (item.key() != "all" && *item != 0) line("  " + item.key(), count_of(*item));
  for (const Json& expansion : report["expansions"])
    line("expansion", mi::text(title(*mi::policy_from(expansion["policy"].get<std::string>())), " of ",
                               expansion["parent_layers"], " layers, at ",
                               mi::found_text(expansion["parent_positions"]), ", seed ", expansion["seed"],
                               ", ", expansion["inserted"].size(), " blocks told from the base"));
  for (const Json& block : report["inserted_blocks"]) {
    const char* const where = block.contains("before_layer") ? "before_layer" : "after_layer";
    line("  " + block["block"].get<std::string>() + "*",
         mi::text(where == std::string("before_layer") ? "before layer " : "after layer ", block[where], ", ",
                  count_of(block["parameters"]), " parameters"));
  }
  for (auto item = report["train"].begin(); item != report["train"].end(); ++item)
    if (!item->is_string())
      line("cpt --train " + item.key(), count_of(*item) + " parameters");
    else if (item.key() == mi::inserted)  // what is said of it holds for inserted:all
      line("cpt --train " + item.key(), report["expansions"].empty()
                                            ? "refused: the model has not been expanded"
                                            : "refused: its last expansion inserted no block of its own");
  for (const Json& file : report["files"])
    line("file", mi::text(file["file"].get<std::string>(), ", ", count_of(file["bytes"]), " bytes, ",
                          file["tensors"], " tensors"));
  std::string dtypes;
  for (auto item = report["dtypes"].begin(); item != report["dtypes"].end(); ++item)
    dtypes += mi::text(dtypes.empty() ? "" : ", ", *item, " tensors of ", item.key());
  line("weights", dtypes.empty() ? "none here" : dtypes);
  const Json& bytes = report["bytes"];
  line("bytes",
       mi::text(bytes["on_disk"].is_null() ? "" : scaled(bytes["on_disk"]) + " on disk, ",
                scaled(bytes["float32"]), " in memory as f32, ", scaled(bytes["bfloat16"]), " as bf16"));
  const Json& tokenizer = report["tokenizer"];
  std::string words = tokenizer["kind"].get<std::string>();
  if (tokenizer.contains("error")) words += ": " + tokenizer["error"].get<std::string>();
  if (tokenizer.contains("tokens"))
    words += mi::text(
        ", ", count_of(tokenizer["tokens"]), " tokens, ",
        tokenizer["fits"] == true ? "which fit" : "more than the model's " + count_of(shape["vocab_size"]));
  line("tokenizer", words);
  if (tokenizer.contains("sha256")) line("  sha256", tokenizer["sha256"].get<std::string>());
  if (!report.contains("training")) return;
  const Json& training = report["training"];
  line("training",
       mi::text("step ", training["step"], " of ", training["steps"], ", ", count_of(training["tokens"]),
                " tokens, seed ", training["seed"], ", ", training["trained_tensors"],
                " tensors train, optimizer ", scaled(training["optimizer_bytes"])));
}

void print_tokens(const Json& report) {
  line("token file",
       mi::text(count_of(report["tokens"]), " tokens of ", report["bytes_per_token"], " bytes"));
  line("vocabulary", count_of(report["vocabulary"]));
  line("tokenizer",
       report["tokenizer_sha256"].is_null()
           ? (report["vocabulary"] == 256 ? "none: the tokens are bytes" : "not named by the file")
           : "sha256 " + report["tokenizer_sha256"].get<std::string>());
  const auto tokens = report["tokens"].get<double>(), masked = report["masked"].get<double>();
  if (report["weighted"] == true)
    line("masked", mi::text(count_of(report["masked"]), " tokens, ", tokens > 0 ? 100 * masked / tokens : 0.0,
                            " %, are read and not learned"));
  else
    line("masked", "none: every token is learned");
  line("text", report["text_bytes"].is_null()
                   ? "of unknown length"
                   : count_of(report["text_bytes"]) + " bytes, of which the tokens are learned");
  line("begins with", !report["first_text"].is_null() ? mi::in_quotes(report["first_text"].get<std::string>())
                      : report["tokenizer_sha256"].is_null()
                          ? "tokens of an unknown tokenizer"
                          : "--tokenizer says what, where it is the one that the file was made with");
}

}  // namespace

int main(int argc, char* argv[]) {
  fs::path path, json, tokenizer;
  CLI::App app(
      "Says what PATH is: a model, a training checkpoint, a config.json alone, or a token file. Status 1 "
      "where it is broken, or its tokenizer does not fit; weights may be missing.",
      "inspect");
  app.add_option("PATH", path, "A directory with a config.json, a config.json, or a token file (see prepare)")
      ->required();
  app.add_option(
         "--tokenizer", tokenizer,
         "Show the first tokens of a token file as text: the tokenizer.json that it was made with, or a "
         "model's directory with that")
      ->type_name("PATH");
  app.add_option("--json", json, "Write the same to this file too");
  return run_program(app, argc, argv, [&] {
    std::error_code error;
    const bool model = fs::is_directory(path, error) || path.extension() == ".json";
    const Json report = model ? describe_model(path) : describe_tokens(path, tokenizer);
    check_outputs({{"--json", json}}, {path});
    model ? print_model(report) : print_tokens(report);
    if (model)
      for (const Json& warning : report["warnings"])
        std::cerr << "warning: " << warning.get<std::string>() << "\n";
    if (!json.empty()) mi::write_file(json, mi::dump_json(report) + "\n");
    const bool fits =
        !model || (!report["tokenizer"].contains("error") && report["tokenizer"].value("fits", true));
    return fits ? 0 : 1;
  });
}
