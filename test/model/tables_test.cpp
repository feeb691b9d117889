// A model whose weights, input, logits, loss and gradients PyTorch computed (test/torch/tables.py), compiled
// for its shape and compared. This file is compiled once for every table (test/CMakeLists.txt).
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "midus_model.hpp"
#include "support/catch.hpp"
#include "support/devices.hpp"

using namespace midus;

namespace {

const std::filesystem::path table = MIDUS_TABLE;

/// Ids or targets [B,T].
struct Tokens {
  explicit Tokens(const std::filesystem::path& path) {
    const Json json = read_json_file(path);
    shape = {{static_cast<Index>(json.size()), static_cast<Index>(json[0].size())}};
    for (const Json& row : json)
      for (const Json& id : row) values.push_back(id.get<std::int32_t>());
  }
  View<const std::int32_t, 2> view() const { return {values.data(), shape}; }
  Shape<2> shape{};
  std::vector<std::int32_t> values;
};

struct Input {
  Tokens ids{table / "ids.json"}, targets{table / "targets.json"};
  Batch batch() const { return {ids.view(), targets.view()}; }
  double scale() const { return 1 / static_cast<double>(counted_targets(targets.view())); }
};

/// The bounds of test/torch/compare.py, which says where they come from.
template <class S>
constexpr double logits_bound = std::is_same_v<S, float> ? 1e-5 : 1e-10;
template <class S>
constexpr double gradients_bound = std::is_same_v<S, float> ? 5e-5 : 1e-10;

/// max |ours - PyTorch's| / max |PyTorch's| of a tensor in expected.safetensors.
template <class S>
void check_tensor(const std::string& name, std::span<const S> ours, double bound) {
  static const SafetensorsFile file(table / "expected.safetensors");
  const StoredTensor& tensor = file.at(name);
  std::vector<double> expected(ours.size());
  read_weights(tensor.dtype, tensor.bytes, std::span(expected));
  double largest = 0, worst = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    REQUIRE(std::isfinite(ours[i]));
    largest = std::max(largest, std::abs(expected[i]));
    worst = std::max(worst, std::abs(static_cast<double>(ours[i]) - expected[i]));
  }
  INFO(name << " is off by " << worst << "; its largest element is " << largest);
  CHECK(largest > 1e-9);  // a tensor of zeros would prove nothing
  CHECK(worst <= bound * largest);
}

template <class S, int Rank>
std::span<const S> flat(const View<S, Rank>& view) {
  return {view.data(), static_cast<std::size_t>(view.size())};
}

template <class S>
bool same_bits(std::span<const S> a, std::span<const S> b) {
  return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("logits, loss and every gradient are PyTorch's", "", Devices) {
  using S = typename TestType::Scalar;
  const Input input;
  TestType device(2);
  auto model = load<midus_model::Model>(table, device);
  {
    const auto scope = device.scope();
    check_tensor<S>("logits", flat(model.logits(input.ids.view())), logits_bound<S>);
  }
  const S alone = static_cast<S>(model.loss(input.batch()).mean());
  check_tensor<S>("loss", std::span(&alone, 1), logits_bound<S>);

  model.train(everything);
  const S loss = static_cast<S>(model.loss_and_gradients(input.batch(), input.scale()).mean());
  check_tensor<S>("loss", std::span(&loss, 1), logits_bound<S>);
  std::size_t count = 0;
  model.visit([&](const Path& path, const auto& parameter) {
    check_tensor<S>("grad." + path.str(), flat(parameter.grad), gradients_bound<S>);
    ++count;
  });
  CHECK(count + 2 == SafetensorsFile(table / "expected.safetensors").tensors().size());
}

TEMPLATE_LIST_TEST_CASE("a frozen base stored as bfloat16 gives the bits of the same values stored wide", "",
                        Devices) {
  using S = typename TestType::Scalar;
  const Input input;
  TestType device(2);
  auto wide = load<midus_model::Model>(table, device), narrow = load<midus_model::Model>(table, device);
  for (auto* const model : {&wide, &narrow})  // rounded first, so that storing rounds nothing
    model->visit([&](const Path&, auto& parameter) {
      for (S& value : std::span(parameter.master.data(), static_cast<std::size_t>(parameter.shape.size())))
        value = static_cast<S>(bfloat16::from(static_cast<float>(value)).to_float());
    });
  const std::string trained = wide.expansions.empty() ? "model.layers.1.*" : inserted;
  for (auto* const model : {&wide, &narrow}) model->train(trained);
  narrow.store_as_bfloat16("*");
  std::size_t stored = 0;
  narrow.visit([&](const Path&, const auto& parameter) {
    CHECK(parameter.value.is_bfloat16() == parameter.frozen());
    stored += parameter.frozen();
  });
  CHECK(stored > 0);

  {
    const auto scope = device.scope();
    CHECK(same_bits(flat(wide.logits(input.ids.view())), flat(narrow.logits(input.ids.view()))));
  }
  const double scale = input.scale();
  CHECK(wide.loss_and_gradients(input.batch(), scale).sum ==
        narrow.loss_and_gradients(input.batch(), scale).sum);
  CHECK(wide.gradients().size() > 0);
  CHECK(same_bits(flat(wide.gradients()), flat(narrow.gradients())));
}
