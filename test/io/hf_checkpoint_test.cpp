#include "midus/io/hf_checkpoint.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/small_models.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

namespace {

using SmallTiedHive =
    Upscaled<SmallTied, MemoryBlock<HeadwiseMemory<2, 4, 3, FactorizedValue<3>>>, BeforeLayers<0>>;

template <class Config, class D>
LanguageModel<Config, D> random_model(D& device, const ModelSettings& settings = {}) {
  LanguageModel<Config, D> model(device, settings);
  randomise(model);
  return model;
}

auto logits_of(auto&& model) {
  const Tokens tokens(2, 9, std::remove_reference_t<decltype(model)>::Shape::vocab_size);
  const auto scope = model.device().scope();
  const auto logits = model.logits(tokens.batch().ids);
  return std::vector(logits.data(), logits.data() + logits.size());
}

/// The first values of the last norm.
template <class Model>
std::vector<double> first_values(const Model& model, std::size_t count) {
  std::vector<double> values;
  model.visit([&](const Path& path, const auto& parameter) {
    for (std::size_t i = 0; i < count && path.str() == "model.norm.weight"; ++i)
      values.push_back(static_cast<double>(parameter.value.at(static_cast<Index>(i))));
  });
  return values;
}
template <class Model>
void set_first_values(Model& model, const std::vector<double>& values) {
  model.visit([&](const Path& path, auto& parameter) {
    for (std::size_t i = 0; i < values.size() && path.str() == "model.norm.weight"; ++i)
      parameter.master.data()[i] = static_cast<typename Model::Scalar>(values[i]);
  });
}

template <class Config, class S>
void check_round_trip() {
  const TemporaryDirectory directory;
  Cpu<S> device(2);
  ModelSettings settings;
  settings.rms_norm_eps = 3e-6, settings.max_position_embeddings = 777;
  settings.rope = {.theta = 12345.5,
                   .llama3 = Llama3Scaling{.factor = 4, .original_max_position_embeddings = 6}};
  auto model = random_model<Config>(device, settings);
  const auto logits = logits_of(model);
  save(model, directory / "whole");
  save(model, directory / "shards", {.shard_bytes = 700});
  REQUIRE(CheckpointFiles(directory / "whole").files().size() == 1);
  REQUIRE(CheckpointFiles(directory / "shards").files().size() > 5);
  for (const std::string name : {"whole", "shards"}) {
    INFO(name);
    std::vector<std::string> said;
    auto loaded = load<Config>(directory / name, device,
                               {.say = [&](const std::string& line) { said.push_back(line); }});
    CHECK(logits_of(loaded) == logits);
    CHECK(loaded.settings().rms_norm_eps == settings.rms_norm_eps);
    CHECK(loaded.settings().rope == settings.rope);
    CHECK(loaded.settings().max_position_embeddings == settings.max_position_embeddings);
    CHECK(std::ranges::none_of(said, [](const auto& line) { return line.starts_with("warning"); }));
    save(loaded, directory / (name + " again"), {.shard_bytes = name == "whole" ? default_shard_bytes : 700});
    CHECK(all_files(directory / (name + " again")) == all_files(directory / name));
  }
  const CheckpointFiles files(directory / "whole");
  CHECK((files.find("lm_head.weight") == nullptr) == Config::tied);
  for (const auto& [name, located] : files.tensors()) CHECK(located.tensor->dtype == dtype_of<S>);
}

}  // namespace

TEMPLATE_TEST_CASE("checkpoint: what is saved, whole or in shards, loads with the same bits", "", SmallBase,
                   SmallTied, SmallHive, SmallTiedHive, SmallDense, SmallPkm) {
  check_round_trip<TestType, float>();
  check_round_trip<TestType, double>();
}

TEMPLATE_TEST_CASE("checkpoint: saving as bfloat16 rounds once, to nearest even", "", float, double) {
  const TemporaryDirectory directory;
  Cpu<TestType> device(1);
  auto model = random_model<SmallHive>(device);
  const double tiny = std::is_same_v<TestType, double> ? 0x1p-40 : 0x1p-23;
  set_first_values(model, {1 + 0x1p-8, 1 + 0x3p-8, -1 - 0x1p-8, 1 + 0x1p-8 + tiny, 1 + 0x3p-8 - tiny, -0.0});
  save(model, directory / "half", {.dtype = Dtype::bf16});
  auto half = load<SmallHive>(directory / "half", device);
  CHECK(first_values(half, 6) == std::vector<double>{1, 1 + 0x1p-6, -1, 1 + 0x1p-7, 1 + 0x1p-7, 0});
  const CheckpointFiles files(directory / "half");
  for (const auto& [name, located] : files.tensors()) CHECK(located.tensor->dtype == Dtype::bf16);
  CHECK(read_llama_config(directory / "half").dtype == Dtype::bf16);
  save(half, directory / "again", {.like = directory / "half"});  // its types are kept
  CHECK(all_files(directory / "again") == all_files(directory / "half"));
  save(half, directory / "wide");
  CHECK(read_llama_config(directory / "wide").dtype == dtype_of<TestType>);
  CHECK(logits_of(load<SmallHive>(directory / "wide", device)) == logits_of(half));
}

TEMPLATE_TEST_CASE("checkpoint: weights kept as bfloat16 are those of a bfloat16 file", "", float, double) {
  const TemporaryDirectory directory;
  Cpu<TestType> device(1);
  auto model = random_model<SmallHive>(device);
  const double tiny = std::is_same_v<TestType, double> ? 0x1p-40 : 0x1p-23;
  set_first_values(model, {1 + 0x1p-8, 1 + 0x1p-8 + tiny, 1 + 0x3p-8 - tiny});
  save(model, directory / "wide");
  save(model, directory / "half", {.dtype = Dtype::bf16});
  const auto expected = load<SmallHive>(directory / "half", device);
  auto stored = load<SmallHive>(directory / "wide", device, {.store_bfloat16 = true});
  CHECK(first_values(stored, 12) == first_values(expected, 12));
  save(stored, directory / "from stored", {.dtype = Dtype::bf16});
  CHECK((all_files(directory / "from stored") == all_files(directory / "half")));  // prints no weights
}

TEST_CASE("checkpoint: what is there is refused and kept whole, unless force replaces it") {
  const TemporaryDirectory directory;
  Cpu<float> device(1);
  auto model = random_model<SmallHive>(device);
  save(model, directory / "model");
  put_file(directory / "model/notes.txt", "mine");
  put_file(directory / "file", "a file");
  const auto before = all_files(directory / "model");
  randomise(model, 2);
  CHECK_THROWS_WITH(save(model, directory / "model"), Contains("exists already"));
  CHECK_THROWS_WITH(save(model, directory / "file"), Contains("exists already"));
  CHECK_THROWS_AS(save(model, directory / "model", {.like = directory / "nowhere", .force = true}), Error);
  CHECK(all_files(directory / "model") == before);
  CHECK(file_bytes(directory / "file") == "a file");
  CHECK_THROWS_WITH(save(model, directory / "model", {.force = true}), Contains("would remove notes.txt"));
  CHECK(all_files(directory / "model") == before);
  std::filesystem::remove(directory / "model/notes.txt");
  save(model, directory / "model", {.force = true});
  CHECK(logits_of(load<SmallHive>(directory / "model", device)) == logits_of(model));
  std::filesystem::create_directory(directory / "empty");
  save(model, directory / "empty");
  CHECK(all_files(directory / "empty") == all_files(directory / "model"));
  const std::filesystem::directory_iterator entries(directory.path());
  CHECK(std::distance(begin(entries), end(entries)) == 3);  // no temporary is left
}

TEST_CASE("checkpoint: what lies in the directory that a model is like comes out as it was") {
  const TemporaryDirectory directory;
  Cpu<float> device(1);
  auto model = random_model<SmallHive>(device);
  save(model, directory / "first");
  Json json = read_llama_config(directory / "first").original;
  json["x_note"] = "keep me";
  json["odd"] = parse_json(R"([0.0, 1e-05, {"b": 1, "a": null}, [], {}, "\u00e9"])", "the test");
  json["bos_token_id"] = 3;
  json["eos_token_id"] = parse_json("[4, 5]", "the test");
  put_file(directory / "first/config.json", dump_json(json));
  for (const std::string name : {"tokenizer.json", "tokenizer.model", "chat_template.jinja", "LICENSE"})
    put_file(directory.path() / "first" / name, std::string("\0 not text \xff", 12) + name);
  put_file(directory / "first/pytorch_model.bin", "weights in another format");

  auto loaded = load<SmallHive>(directory / "first", device);
  randomise(loaded, 2);
  save(loaded, directory / "second", {.like = directory / "first"});
  auto before = all_files(directory / "first"), after = all_files(directory / "second");
  CHECK(before.erase("pytorch_model.bin") == 1);
  CHECK(before["model.safetensors"] != after["model.safetensors"]);
  CHECK(dump_json(read_llama_config(directory / "second").original) == dump_json(json));
  for (const std::string name : {"model.safetensors", "config.json"}) before.erase(name), after.erase(name);
  CHECK(before == after);
  CHECK(logits_of(load<SmallHive>(directory / "second", device)) == logits_of(loaded));

  const SaveOptions onto_itself_options{.like = directory / "first", .force = true};
  CHECK_THROWS_WITH(save(loaded, directory / "first", onto_itself_options), Contains("pytorch_model.bin"));
  std::filesystem::remove(directory / "first/pytorch_model.bin");
  save(loaded, directory / "first", onto_itself_options);
  auto onto_itself = all_files(directory / "first");
  onto_itself.erase("model.safetensors"), onto_itself.erase("config.json");
  CHECK(onto_itself == after);
}

TEST_CASE("checkpoint: what the base's files say of themselves is kept when a model in memory is saved") {
  const TemporaryDirectory directory;
  Cpu<float> device(1);
  const auto origin = directory / "base", file = origin / "model.safetensors";
  save(random_model<SmallTied>(device), origin);
  const std::string bytes = file_bytes(file);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const auto metadata_of = [&](const Json& metadata, SaveOptions options, bool like = true) {
    Json header = parse_json(bytes.substr(8, length), "the test");
    header["__metadata__"] = metadata;
    put_file(file, raw_safetensors(header.dump(), bytes.substr(8 + length)));
    if (like) options.like = origin;  // which reads it
    save(load<SmallTied>(origin, device), directory / "out", options);
    return CheckpointFiles(directory / "out").metadata();
  };
  const Json notes = {{"format", "mlx"}, {"training", "x"}, {"note", "y"}};
  const SafetensorsMetadata kept = {{"format", "pt"}, {"training", "x"}, {"note", "y"}};
  CHECK(metadata_of(notes, {.force = true}) == kept);
  CHECK(metadata_of(notes, {.dtype = Dtype::bf16, .force = true}) == kept);
  CHECK(metadata_of(notes, {.force = true, .shard_bytes = 700}) == kept);
  CHECK(metadata_of(nullptr, {.force = true}) == SafetensorsMetadata{{"format", "pt"}});
  CHECK(metadata_of(notes, {.force = true}, false) == SafetensorsMetadata{{"format", "pt"}});
}

TEST_CASE("checkpoint: what a model is like is read once, and may go away") {
  const TemporaryDirectory directory;
  Cpu<float> device(1);
  const auto model = random_model<SmallTied>(device);
  save(model, directory / "base", {.dtype = Dtype::f16});
  put_file(directory / "base/tokenizer.json", "{}");
  std::filesystem::create_directories(directory / "base/additional_chat_templates");
  put_file(directory / "base/additional_chat_templates/rag.jinja", "rag");
  const SaveOptions options{.like = directory / "base"};
  save(model, directory / "before", options);
  std::filesystem::remove_all(directory / "base");
  save(model, directory / "after", options);
  for (const char* const name :
       {"config.json", "model.safetensors", "tokenizer.json", "additional_chat_templates/rag.jinja"})
    CHECK(file_bytes(directory / "after" / name) == file_bytes(directory / "before" / name));
  CHECK(CheckpointFiles(directory / "after").at("model.norm.weight").dtype == Dtype::f16);
  CHECK_THROWS_WITH(Like(directory / "base"), Catch::Contains("No such file"));
  CHECK_FALSE(Like(""));
}

TEST_CASE("checkpoint: the forms that published files have give the same logits",
          "[LD-06][LD-11][AR-06][AR-07]") {
  const TemporaryDirectory directory;
  Cpu<float> device(1);
  const auto model = directory / "model", file = model / "model.safetensors";
  save(random_model<SmallTied>(device), model);
  const auto logits = logits_of(load<SmallTied>(model, device));
  const std::string bytes = file_bytes(file);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const std::string header = bytes.substr(8, length), data = bytes.substr(8 + length);
  std::vector<std::string> said;
  const auto loaded = [&] {
    said.clear();
    return logits_of(
        load<SmallTied>(model, device, {.say = [&](const std::string& line) { said.push_back(line); }}));
  };

  for (const std::string spaces : {" ", "  ", "   "}) {  // every tensor off its alignment
    put_file(file, raw_safetensors(header + spaces, data));
    CHECK(loaded() == logits);
  }

  // A tensor more, behind the others.
  const auto with = [&](const std::string& name, const std::vector<Index>& shape, const std::string& more) {
    Json changed = parse_json(header, "the test");
    changed[name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + more.size()}}};
    put_file(file, raw_safetensors(changed.dump(), data + more));
  };
  const auto refused = [&] { return message_of(loaded); };
  with("model.layers.0.self_attn.rotary_emb.inv_freq", {4}, std::string(16, '\x40'));
  CHECK(loaded() == logits);
  with("model.layers.0.foo.weight", {4}, std::string(16, '\x40'));
  CHECK_THAT(refused(), Contains("model.layers.0.foo.weight"));
  with("model.layers.2.input_layernorm.weight", {16}, std::string(64, '\x40'));
  CHECK_THAT(refused(), Contains("model.layers.2.input_layernorm.weight"));

  const std::size_t head = 17 * 16 * sizeof(float);  // embed_tokens is the first tensor
  with("lm_head.weight", {17, 16}, data.substr(0, head));
  CHECK(loaded() == logits);
  with("lm_head.weight", {17, 16}, std::string(head, '\x3f'));
  CHECK(loaded() == logits);
  CHECK(std::ranges::any_of(said, [](const std::string& line) {
    return line.starts_with("warning") && line.find("lm_head.weight") != line.npos;
  }));
  put_file(file, bytes);

  // What is null, and what is left out, are one thing.
  Json json = read_llama_config(model).original;
  for (const char* const key : {"head_dim", "num_key_value_heads", "rope_scaling", "sliding_window"})
    json[key] = nullptr;
  json["pretraining_tp"] = 1, json["attention_bias"] = false, json["mlp_bias"] = false;
  put_file(model / "config.json", json.dump());
  CHECK(loaded() == logits);
  for (const char* const key : {"head_dim", "num_key_value_heads", "rope_scaling", "sliding_window",
                                "pretraining_tp", "attention_bias", "mlp_bias"})
    json.erase(key);
  put_file(model / "config.json", json.dump());
  CHECK(loaded() == logits);
}

TEST_CASE("checkpoint: a tied head is one tensor, in gradient, optimizer and file", "[SV-04]") {
  using Untied = Llama<Vocab<17>, Width<16>, Layers<2>, Attention<2>, SwiGlu<10>>;
  const TemporaryDirectory directory;
  Cpu<double> device(2);
  auto tied = random_model<SmallTied>(device);
  auto untied = random_model<Untied>(device);
  const auto table_of = [](auto& model, const std::string& name) {
    Parameter<Cpu<double>, 2> table(TensorSpec{"weight", {1, 1}});
    model.visit([&](const Path& path, auto& parameter) {
      if constexpr (std::remove_reference_t<decltype(parameter)>::rank == 2)
        if (path.str() == name) table = parameter;
    });
    return table;
  };
  const std::string head = "lm_head.weight", embedding = "model.embed_tokens.weight";
  device.copy(View<const double, 2>(table_of(tied, embedding).master), table_of(untied, head).master);

  // The two roles of the table, as two tables of the same numbers have them.
  tied.train(everything);
  untied.train(everything);
  const Tokens tokens(2, 9, SmallTied::vocab_size);
  CHECK(tied.loss_and_gradients(tokens.batch(), 1).sum == untied.loss_and_gradients(tokens.batch(), 1).sum);
  const auto both = table_of(tied, embedding).grad.flat(), as_head = table_of(untied, head).grad.flat(),
             as_embedding = table_of(untied, embedding).grad.flat();
  for (Index i = 0; i < both.size(); ++i)
    CHECK(std::abs(both(i) - (as_head(i) + as_embedding(i))) <
          1e-14 * (1 + std::abs(as_head(i)) + std::abs(as_embedding(i))));

  TokenWriter writer(directory / "tokens.bin", {.vocabulary = SmallTied::vocab_size});
  writer.append(tokens.ids);
  writer.commit();
  const auto trained_and_saved = [&](auto& model, const std::string& name) {
    Trainer trainer(model, AdamW{.learning_rate = 1e-2}, TokenFile(directory / "tokens.bin"),
                    {.batch = 1, .length = 8, .steps = 3});
    while (trainer.step()) {
    }
    std::vector<std::string> trained;
    trainer.optimizer().visit(
        [&](const std::string& each, const auto&, const auto&) { trained.push_back(each); });
    save(model, directory / name);
    auto loaded = load<typename std::remove_reference_t<decltype(model)>::Shape>(directory / name, device);
    CHECK(logits_of(loaded) == logits_of(model));
    return trained;
  };
  std::vector<std::string> trained = trained_and_saved(tied, "tied");
  CHECK(std::ranges::count(trained, embedding) == 1);
  CHECK(std::ranges::count(trained, head) == 0);
  CHECK(CheckpointFiles(directory / "tied").find(head) == nullptr);
  CHECK(read_llama_config(directory / "tied").tie_word_embeddings);

  trained = trained_and_saved(untied, "untied");
  CHECK(std::ranges::count(trained, head) == 1);
  const CheckpointFiles files(directory / "untied");
  CHECK_FALSE(
      std::ranges::equal(files.at(head).bytes, files.at(embedding).bytes));  // they have drifted apart
  CHECK_FALSE(read_llama_config(directory / "untied").tie_word_embeddings);
}

TEST_CASE(
    "checkpoint: a model with a number that its files could not hold is not saved, and the tensor is named") {
  TemporaryDirectory directory;
  Cpu<float> device(1);
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  const auto said = [&](float number, const SaveOptions& options) {
    auto model = random_model<SmallTied>(device);
    model.visit([&](const Path& path, auto& parameter) {
      if (path.str() == name) parameter.master.data()[7] = number;
    });
    const std::string message = message_of([&] { save(model, directory / "out", options); });
    CHECK_FALSE(std::filesystem::exists(directory / "out"));
    CHECK_FALSE(left_over(directory.path()));
    return message;
  };
  CHECK_THAT(said(1e5f, {.dtype = Dtype::f16}),
             Contains("tensor " + name + " cannot be written as F16: element 7 is 100000, beyond"));
  CHECK_THAT(said(3.4e38f, {.dtype = Dtype::bf16}), Contains(name));
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
    CHECK_THAT(said(std::numeric_limits<float>::quiet_NaN(), {.dtype = dtype}), Contains(name));
    CHECK_THAT(said(-std::numeric_limits<float>::infinity(), {.dtype = dtype}), Contains(name));
  }
}
