// Writes a model's logits, loss and gradients for given tokens: how another implementation is compared with
// midus (test/torch/compare.py does). Build it for the checkpoint's shape with `bash examples/build_for.sh
// DIRECTORY`.
//
//     logits CHECKPOINT_DIR --ids ids.json --out logits.safetensors
//
// Ids, and targets where they are given, are JSON lists of equally long lists [B,T]; target -100 does not
// count. OUT holds `logits` [B,T,V], and with targets `loss` [1], the mean over the counted ones. GRADIENTS
// holds that mean's derivatives under the parameters' names in a checkpoint.
#include "common.hpp"
#include "midus_model.hpp"

namespace {

using midus::fail, midus::Index;

struct Options {
  std::string directory, ids, targets, out, gradients;
  bool in_double = false;
  int threads = 0;
};

/// Tokens [B,T] in host memory.
struct Tokens {
  midus::Shape<2> shape{};
  std::vector<std::int32_t> values;
  midus::View<const std::int32_t, 2> view() const { return {values.data(), shape}; }
};

/// The model checks the ids against its vocabulary.
Tokens read_tokens(const std::string& path) {
  const midus::Json json = midus::read_json_file(path);
  const auto expected = [&](const auto&... found) {
    fail(path, ": expected a list of equally long lists of token ids, found ", found...);
  };
  if (!json.is_array() || json.empty() || !json[0].is_array() || json[0].empty())
    expected(midus::found_text(json));
  Tokens tokens{{{static_cast<Index>(json.size()), static_cast<Index>(json[0].size())}}, {}};
  for (const midus::Json& row : json) {
    if (!row.is_array() || row.size() != json[0].size())
      expected(row.is_array() ? midus::text("a list of ", row.size(), " after one of ", json[0].size())
                              : midus::found_text(row));
    for (const midus::Json& item : row) {
      const auto id = midus::exact_integer(item);
      if (!id || *id < INT32_MIN || *id > INT32_MAX) expected(midus::found_text(item));
      tokens.values.push_back(static_cast<std::int32_t>(*id));
    }
  }
  return tokens;
}

template <class S, int Rank>
std::span<const std::byte> bytes_of(const midus::View<S, Rank>& view) {
  return std::as_bytes(std::span(view.data(), static_cast<std::size_t>(view.size())));
}

template <class Model>
void write_gradients(const Model& model, const std::string& path) {
  constexpr midus::Dtype dtype = midus::dtype_of<typename Model::Scalar>;
  std::vector<midus::TensorInfo> tensors;
  model.visit([&](const midus::Path& name, const auto& parameter) {
    const auto& extents = parameter.shape.extents;
    tensors.push_back({name.str(), dtype, {std::begin(extents), std::end(extents)}});
  });
  midus::SafetensorsWriter writer(path, tensors);
  model.visit([&](const midus::Path& name, const auto& parameter) {
    writer.write(name.str(), bytes_of(parameter.grad));
  });
  writer.commit();
}

template <class S>
int logits(const Options& options) {
  const Index positions = model_config<midus_model::Model>(options.directory).max_position_embeddings;
  const Tokens ids = read_tokens(options.ids);
  check_positions(options.ids, ids.shape[1], positions);
  const Tokens targets = options.targets.empty() ? Tokens() : read_tokens(options.targets);
  const Index counted = options.targets.empty() ? 0 : midus::counted_targets(targets.view());
  if (!options.targets.empty() && counted == 0)
    fail(options.targets, ": no target counts, so there is no mean loss");
  check_outputs({{"--out", options.out}, {"--gradients", options.gradients}},
                {options.directory, options.ids, options.targets});

  midus::Cpu<S> device(options.threads);
  auto model = load_model<midus_model::Model>(options.directory, device);
  constexpr midus::Dtype dtype = midus::dtype_of<S>;
  const auto scope = device.scope();
  const auto all = model.logits(ids.view());
  for (Index i = 0; i < all.size(); ++i)
    if (!std::isfinite(all.data()[i]))
      fail("the logits of sequence ", i / all.extent(1) / ids.shape[1], ", position ",
           i / all.extent(1) % ids.shape[1], " are not finite (", all.data()[i],
           "), though every weight is: the activations overflow");

  std::vector<midus::TensorInfo> tensors{{"logits", dtype, {ids.shape[0], ids.shape[1], all.extent(1)}}};
  if (counted > 0) tensors.push_back({"loss", dtype, {1}});
  midus::SafetensorsWriter writer(options.out, tensors);
  writer.write("logits", bytes_of(all));
  if (counted > 0) {
    const midus::Batch batch{ids.view(), targets.view()};
    if (!options.gradients.empty()) model.train(midus::everything);
    const midus::LossSum loss = options.gradients.empty()
                                    ? model.loss(batch)
                                    : model.loss_and_gradients(batch, 1 / static_cast<double>(counted));
    const S mean = static_cast<S>(loss.mean());
    writer.write("loss", std::as_bytes(std::span(&mean, 1)));
  }
  if (!options.gradients.empty()) write_gradients(model, options.gradients);
  writer.commit();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes a model's logits, loss and gradients as safetensors files.", "logits");
  Options options;
  app.add_option("CHECKPOINT_DIR", options.directory, "The model's directory")->required();
  app.add_option("--ids", options.ids, "A file with token ids: a JSON list of equally long lists")
      ->required();
  app.add_option("--out", options.out, "The file to write: logits [B,T,V] and, with targets, loss [1]")
      ->required();
  auto* const targets = app.add_option("--targets", options.targets,
                                       "What should follow each token, in the form of --ids; -100: ignored");
  app.add_option("--gradients", options.gradients, "A file to write: the mean loss' gradients, by parameter")
      ->needs(targets);
  app.add_flag("--double", options.in_double, "Compute in double and write F64");
  add_threads(app, options.threads);
  return run_program(app, argc, argv,
                     [&] { return options.in_double ? logits<double>(options) : logits<float>(options); });
}
