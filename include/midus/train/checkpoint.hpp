// Training checkpoints: everything that an exact continuation needs (docs/checkpoint.md).
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "midus/core/version.hpp"
#include "midus/io/hf_checkpoint.hpp"
#include "midus/io/json_object.hpp"
#include "midus/io/sha256.hpp"
#include "midus/train/run_directory.hpp"
#include "midus/train/trainer.hpp"

namespace midus {

/// What a run has written beside its checkpoints, to be cut back when it is resumed.
struct LogLengths {
  Index steps = 0, evaluations = 0;  // bytes of log.jsonl and evaluations.jsonl
};

/// The best evaluation so far.
struct BestStep {
  Index step = 0;
  double loss = 0;
};

namespace detail {

inline Json options_json(const TrainOptions& options, const AdamW& adamw) {
  Json json;
  json["batch"] = options.batch;
  json["length"] = options.length;
  json["accumulate"] = options.accumulate;
  json["steps"] = options.steps;
  json["seed"] = options.seed;
  json["shuffle"] = options.shuffle;
  json["decay"] = std::string(name_of(options.schedule.decay));
  json["warmup"] = options.schedule.warmup;
  json["decay_steps"] = options.schedule.decay_steps;
  json["floor"] = options.schedule.floor;
  json["learning_rate"] = adamw.learning_rate;
  json["beta1"] = adamw.beta1;
  json["beta2"] = adamw.beta2;
  json["epsilon"] = adamw.epsilon;
  json["weight_decay"] = adamw.weight_decay;
  json["clip"] = adamw.clip;
  json["groups"] = Json::array();
  for (const auto& [pattern, group] : adamw.groups)
    json["groups"].push_back({{"pattern", pattern},
                              {"rate_scale", group.rate_scale},
                              {"decay", group.decay},
                              {"clip", group.clip}});
  return json;
}

/// The first digits of the SHA-256 of this program's file; "" where it may not be read.
inline std::string program_digest() {
  try {
    std::error_code error;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    return error ? "" : to_hex(sha256_file(program)).substr(0, 16);
  } catch (const Error&) {
    return "";
  }
}

/// Which compiler and instruction set made this program, and which program it is: as it was when this was
/// first asked, whatever lies in its place later.
inline std::string build_text() {
#if defined(__clang__)
  std::string build = "clang " __clang_version__;
#else
  std::string build = "gcc " __VERSION__;
#endif
#if defined(__AVX512F__)
  build += ", AVX-512";
#elif defined(__AVX2__)
  build += ", AVX2";
#endif
  build += std::string(", midus ") + version_string;
  static const std::string digest = program_digest();
  return digest.empty() ? build : build + ", program " + digest;
}

/// The processor's name, where the system says it.
inline std::string processor_text() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

/// What differs between the machine that wrote a checkpoint and this one.
inline std::vector<std::string> machine_warnings(const Json& checkpoint) {
  std::vector<std::string> warnings;
  for (const auto& [key, now] : {std::pair{"build", build_text()}, std::pair{"processor", processor_text()}})
    if (const auto before = checkpoint.at(key).get<std::string>(); before != now)
      warnings.push_back(text("another ", key, " (", before, " before, ", now,
                              " now): the run goes on, but its bits are not promised to be the same"));
  return warnings;
}

/// What trainer.json says of where a run stands. The first call reads the data files, to hash them.
template <class Model>
std::string trainer_text(const Trainer<Model>& trainer, const LogLengths& logs,
                         const std::optional<BestStep>& best, const Json& inputs) {
  Json json;
  json["version"] = 1;
  json["step"] = trainer.state().step;
  json["tokens"] = trainer.state().tokens;
  json["options"] = detail::options_json(trainer.options(), trainer.optimizer().settings());
  json["trained"] = Json::array();
  trainer.optimizer().visit(
      [&](const std::string& name, const auto&, const auto&) { json["trained"].push_back(name); });
  json["data"] = Json::array();
  const auto& sources = trainer.batches().sources();
  const std::vector<DataPlace> places = trainer.batches().places();
  for (std::size_t i = 0; i < places.size(); ++i)
    json["data"].push_back({{"path", places[i].path},
                            {"tokens", places[i].tokens},
                            {"sha256", places[i].sha256},
                            {"windows", places[i].windows},
                            {"weight", sources[i].weight}});
  json["inputs"] = inputs;
  json["log_bytes"] = logs.steps;
  json["evaluations_bytes"] = logs.evaluations;
  if (best) json["best"] = {{"step", best->step}, {"loss", best->loss}};
  json["build"] = detail::build_text();
  json["processor"] = detail::processor_text();
  return dump_json(json) + "\n";
}

}  // namespace detail

/// Writes RUN/step-N: a model directory in the compute type, `optimizer.safetensors` and `trainer.json`. It
/// appears whole; a step that was written before a crash is written again. `inputs` says what else the run
/// reads (`Run`), to be compared when it goes on.
template <class Model>
std::filesystem::path save_checkpoint(const Trainer<Model>& trainer, const std::filesystem::path& run,
                                      const LogLengths& logs, const std::optional<BestStep>& best,
                                      const Like& like = {}, const Json& inputs = Json::object()) {
  using S = typename Model::Scalar;
  const std::filesystem::path target = detail::step_directory(run, trainer.state().step);
  AtomicDirectory directory(target, true);
  write_model(trainer.model(), directory.path(), {.like = like, .dtype = dtype_of<S>});
  like.write_other_files(directory.path());
  if (config_of(trainer.model(), like).memory) let_python_keep_ids(directory.path());

  std::vector<TensorInfo> tensors;
  trainer.optimizer().visit([&](const std::string& name, const auto& m, const auto&) {
    for (const char* kind : {"exp_avg.", "exp_avg_sq."})
      tensors.push_back({kind + name, dtype_of<S>, {m.size()}});
  });
  SafetensorsWriter moments(directory.path() / "optimizer.safetensors", tensors);
  trainer.optimizer().visit([&](const std::string& name, const auto& m, const auto& v) {
    for (const auto& [kind, of_kind] : {std::pair{"exp_avg.", m}, {"exp_avg_sq.", v}}) {
      const auto bytes = std::as_bytes(std::span(of_kind.data(), static_cast<std::size_t>(of_kind.size())));
      if (const auto at = first_not_finite(dtype_of<S>, bytes))
        fail("tensor ", kind, name, " cannot be written: element ", *at, " is not finite");
      moments.write(kind + name, bytes);
    }
  });
  moments.commit();

  write_file(directory.path() / "trainer.json", detail::trainer_text(trainer, logs, best, inputs));
  directory.commit();
  return target;
}

/// Writes into RUN/step-N, which is the checkpoint of this very step, what was evaluated since. The caller
/// has the run's lock: what a crash of another attempt left there is nobody's.
template <class Model>
void update_checkpoint(const Trainer<Model>& trainer, const std::filesystem::path& run,
                       const LogLengths& logs, const std::optional<BestStep>& best, const Json& inputs) {
  const std::filesystem::path file = detail::step_directory(run, trainer.state().step) / "trainer.json";
  remove_unfinished(file);
  write_file(file, detail::trainer_text(trainer, logs, best, inputs));
}

/// What a resumed run is told.
struct Resumed {
  LogLengths logs;
  std::optional<BestStep> best;
  Json inputs;                        ///< as `save_checkpoint` was given them
  std::vector<std::string> warnings;  ///< another processor or build: the bits are not promised then
};

namespace detail {

inline constexpr Index most_counted = Index{1} << 53;  // what every reader of JSON has exactly

/// Throws `Error`, naming what differs, unless the trainer has the options and trained parameters of the run.
template <class Model>
void check_same_training(const Trainer<Model>& trainer, const Json& json, const JsonObject& state) {
  const Json now = options_json(trainer.options(), trainer.optimizer().settings());
  std::string before, after;  // the options that differ
  for (auto item = now.begin(); item != now.end(); ++item) {
    const Json& of_run = json.at("options").at(item.key());
    if (of_run == *item) continue;
    before += (before.empty() ? "" : ", ") + item.key() + " " + of_run.dump();
    after += (after.empty() ? "" : ", ") + item.key() + " " + item->dump();
  }
  if (!before.empty())
    fail(state.file(), ": the run has ", before, "; this continuation has ", after,
         "; give the same options, or start a new run from this checkpoint");
  std::vector<std::string> trained;
  trainer.optimizer().visit(
      [&](const std::string& name, const auto&, const auto&) { trained.push_back(name); });
  if (state.strings("trained") != trained)
    fail(state.file(), ": the run trains ", json.at("trained").size(),
         " other tensors than this continuation (", trained.size(), "); give the same --train");
}

/// Where the run stands in its data. Throws `Error` where that is not the data of `sources`, as far as can be
/// said without reading them.
inline std::vector<DataPlace> data_places(const Json& data, const std::vector<DataSource>& sources,
                                          const std::string& where) {
  if (!data.is_array() || data.size() != sources.size())
    fail(where, ": expected ", sources.size(), " data files, as this continuation reads, found ",
         data.is_array() ? std::to_string(data.size()) : found_text(data));
  std::vector<DataPlace> places;
  for (std::size_t i = 0; i < data.size(); ++i) {
    const JsonObject file(data[i], where, text("data[", i, "]"));
    const double weight = file.number("weight", 0, std::numeric_limits<double>::max());
    if (weight != sources[i].weight)
      fail(where, ": data file ", found_text(data[i].at("path")), " has weight ", weight, " in the run, ",
           sources[i].weight, " in this continuation");
    places.push_back({file.string("path"), file.integer("tokens", 1, most_counted), file.string("sha256"),
                      file.integer("windows", 0, Batches::most_windows)});
  }
  return places;
}

template <class Model>
void read_moments(Trainer<Model>& trainer, const std::filesystem::path& path) {
  using S = typename Model::Scalar;
  const SafetensorsFile moments(path);
  trainer.optimizer().visit([&](const std::string& name, const auto& m, const auto& v) {
    for (const auto& [kind, to] : {std::pair{"exp_avg.", m}, {"exp_avg_sq.", v}}) {
      const StoredTensor& tensor = moments.at(kind + name);
      if (tensor.dtype != dtype_of<S> || tensor.shape != std::vector<Index>{to.size()})
        fail(path.string(), ": tensor ", kind, name, ": expected ", to_string(dtype_of<S>), " [", to.size(),
             "], found ", to_string(tensor.dtype), " ", to_string(tensor.shape));
      read_weights(tensor.dtype, tensor.bytes, std::span(to.data(), static_cast<std::size_t>(to.size())));
    }
  });
}

}  // namespace detail

/// Brings a trainer, whose model was loaded from `checkpoint`, to where that checkpoint stands. Throws
/// `Error`, naming what differs, unless options, data files and trained parameters are those of the run.
template <class Model>
Resumed restore_checkpoint(Trainer<Model>& trainer, const std::filesystem::path& checkpoint) {
  const std::filesystem::path path = checkpoint / "trainer.json";
  const Json json = read_json_file(path);
  const std::string where = path.string();
  const JsonObject state(json, where);
  try {
    if (json.value("version", Json()) != 1)
      fail(where, ": expected version 1, found ", found_text(json.value("version", Json())));
    detail::check_same_training(trainer, json, state);
    // All that can be wrong with the numbers is found before the trainer changes.
    const std::vector<DataPlace> places =
        detail::data_places(json.at("data"), trainer.batches().sources(), where);
    constexpr Index most = detail::most_counted;
    const Index steps = state.integer("step", 0, trainer.options().steps);
    const TrainerState at{steps, state.integer("tokens", 0, most)};
    Resumed resumed;
    resumed.logs = {state.integer("log_bytes", 0, most), state.integer("evaluations_bytes", 0, most)};
    if (state.has("best")) {
      const JsonObject best = state.object("best");
      resumed.best = {best.integer("step", 0, steps),
                      best.number("loss", -1, std::numeric_limits<double>::max())};
    }
    resumed.inputs = state.object("inputs").json();
    resumed.warnings = detail::machine_warnings(json);
    trainer.batches().restore(places);
    detail::read_moments(trainer, checkpoint / "optimizer.safetensors");
    trainer.restore(at);
    return resumed;
  } catch (const nlohmann::json::exception& error) {
    fail(where, ": not what a training checkpoint holds: ", error.what());
  }
}

}  // namespace midus
