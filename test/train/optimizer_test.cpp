#include "midus/train/optimizer.hpp"

#include <cmath>
#include <limits>

#include "midus/train/schedule.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/small_models.hpp"
#include "support/table_models.hpp"

using namespace midus;
using namespace midus::test;

// Losses, gradient norms and the rates of 20 steps as PyTorch made them in double: everything at once.
TEMPLATE_TEST_CASE("20 AdamW steps have PyTorch's losses and gradient norms", "", BaseTable, HiveTable,
                   DenseTable, PkmTable) {
  using Config = typename TestType::Config;
  const auto directory = table_directory(TestType::name);
  const Json curve = read_json_file(directory / "curve.json");
  const Json& settings = curve["settings"];
  Cpu<double> device(2);
  auto model = load<Config>(directory, device);
  model.train(curve["train"] == "all" ? everything : curve["train"].template get<std::string>());

  AdamW adamw{.learning_rate = settings["learning_rate"],
              .beta1 = settings["beta1"],
              .beta2 = settings["beta2"],
              .epsilon = settings["epsilon"],
              .weight_decay = settings["weight_decay"],
              .clip = settings["clip_norm"]};
  if (Config::Where::count > 0) {
    ParameterGroup values{.rate_scale = settings["values_rate_scale"]};
    if (settings["values_clip_norm"].is_number()) values.clip = settings["values_clip_norm"];
    adamw.groups.emplace_back("*.memory.values", values);
  }
  Optimizer optimizer(model, adamw);
  const auto steps = static_cast<Index>(curve["steps"].size());
  const Schedule schedule{.warmup = settings["warmup_steps"],
                          .floor = settings["floor"].template get<double>() / adamw.learning_rate};
  for (Index step = 0; step < steps; ++step) {
    const Json& expected = curve["steps"][static_cast<std::size_t>(step)];
    const IdTable ids(curve["batches"][static_cast<std::size_t>(step)]["ids"]);
    const IdTable targets(curve["batches"][static_cast<std::size_t>(step)]["targets"]);
    const Batch batch{ids.view(), targets.view()};
    model.zero_gradients();
    const LossSum loss =
        model.loss_and_gradients(batch, 1 / static_cast<double>(counted_targets(targets.view())));
    const double norm = optimizer.norm();
    INFO(TestType::name << " step " << step + 1);
    CHECK(loss.mean() == Approx(expected["loss"].template get<double>()).epsilon(1e-10));
    CHECK(norm == Approx(expected["grad_norm"].template get<double>()).epsilon(1e-9));
    const double rate = schedule.rate(step, steps, adamw.learning_rate);
    CHECK(rate == Approx(expected["learning_rate"].template get<double>()).epsilon(1e-12));
    optimizer.update(rate, step + 1);
  }
}

namespace {

using Model = LanguageModel<SmallHive, Cpu<double>>;

/// Sets every trained gradient to zero but those of one tensor.
void set_gradient(Model& model, const std::string& name, std::initializer_list<double> values) {
  model.zero_gradients();
  model.visit([&](const Path& path, auto& parameter) {
    if (path.str() == name) std::copy(values.begin(), values.end(), parameter.grad.data());
  });
}

std::vector<double> values_of(Model& model, const std::string& name) {
  std::vector<double> values;
  model.visit([&](const Path& path, auto& parameter) {
    if (path.str() == name)
      values.assign(parameter.master.data(), parameter.master.data() + parameter.master.size());
  });
  return values;
}

}  // namespace

TEST_CASE("the norm counts all tiles of a tensor that has several") {
  using Wide = Llama<Vocab<2100>, Width<16>, Layers<1>, Attention<2>, SwiGlu<8>, TiedHead>;
  static_assert(2100 * 16 > 2 * sum_of_squares_tile);
  Cpu<double> device(1);
  LanguageModel<Wide, Cpu<double>> model(device);
  const std::string name = "model.embed_tokens.weight";
  model.train(name);
  Optimizer optimizer(model, {});
  const auto gradient = model.gradients();
  REQUIRE(gradient.size() == 2100 * 16);
  for (const Index at : {Index{0}, sum_of_squares_tile, gradient.size() - 1}) {  // one in each of three tiles
    model.zero_gradients();
    gradient.data()[at] = 3;
    CHECK(optimizer.norm() == 3);
  }
  device.fill(gradient, 1.0);
  CHECK(optimizer.norm() == Approx(std::sqrt(2100 * 16)));
  gradient.data()[1] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(optimizer.norm(), Catch::Equals("the gradient of " + name + " is not finite"));
}

TEST_CASE("decay moves what trains and is no norm and no memory value, and nothing that is frozen") {
  Cpu<double> device(1);
  Model model(device);
  randomise(model);
  const std::string down = "model.layers.0.mlp.down_proj.weight",
                    norm = "model.layers.0.input_layernorm.weight",
                    values = "model.memory_blocks.0.memory.values",
                    frozen = "model.layers.1.mlp.up_proj.weight";
  model.train({"model.layers.0.*", "model.memory_blocks.0.*"});
  Optimizer optimizer(model, {.learning_rate = 0.1, .weight_decay = 0.1});
  const auto before_down = values_of(model, down), before_norm = values_of(model, norm),
             before_values = values_of(model, values), before_frozen = values_of(model, frozen);
  for (Index step = 1; step <= 10; ++step) {
    model.zero_gradients();
    optimizer.norm();
    optimizer.update(0.1, step);
  }
  for (std::size_t i = 0; i < before_down.size(); ++i)
    CHECK(values_of(model, down)[i] == Approx(before_down[i] * 0.9043820750088044).epsilon(1e-12));
  CHECK(values_of(model, norm) == before_norm);
  CHECK(values_of(model, values) == before_values);
  CHECK(values_of(model, frozen) == before_frozen);
  CHECK(optimizer.size() < 2000);
}

TEST_CASE("a row keeps moving after its last gradient, as dense AdamW has it") {
  Cpu<double> device(1);
  Model model(device);
  const std::string name = "model.memory_blocks.0.memory.values";
  model.train(name);
  model.visit([&](const Path& path, auto& parameter) {
    if (path.str() == name) parameter.master.data()[0] = 1;
  });
  Optimizer optimizer(model, {.learning_rate = 0.1, .clip = 0, .groups = {{"*.values", {.decay = 0.1}}}});
  const double expected[] = {0.8900000020, 0.8132352292, 0.7519649101};
  for (Index step = 1; step <= 3; ++step) {
    set_gradient(model, name, {step == 1 ? 0.5 : 0.0});
    optimizer.norm();
    optimizer.update(0.1, step);
    CHECK(values_of(model, name)[0] == Approx(expected[step - 1]).epsilon(1e-9));
  }
}

TEST_CASE("clipping sees what is trained, groups with a clip of their own apart") {
  Cpu<double> device(1);
  const std::string weight = "model.layers.0.mlp.up_proj.weight",
                    values = "model.memory_blocks.0.memory.values";
  // The moment after one step shows the clipped gradient: exp_avg = (1 - beta1) · g · coefficient.
  const auto clipped = [&](double clip, double own, double wanted_norm) {
    Model model(device);
    randomise(model);
    model.train({weight, values});
    AdamW adamw{.beta1 = 0.5, .clip = clip};
    if (own >= 0) adamw.groups = {{"*.memory.values", {.clip = own}}};
    Optimizer optimizer(model, adamw);
    set_gradient(model, weight, {3, 4});
    model.visit([&](const Path& path, auto& parameter) {
      if (path.str() == values) parameter.grad.data()[0] = 12;
    });
    CHECK(optimizer.norm() == Approx(wanted_norm));
    optimizer.update(0, 1);
    std::pair<double, double> found;
    optimizer.visit([&](const std::string& name, const auto& m, const auto&) {
      (name == weight ? found.first : found.second) = m(0) / 0.5;
    });
    return found;
  };
  CHECK(clipped(1, -1, 13).first == Approx(3.0 / 13));
  CHECK(clipped(1, 2, 13).first == Approx(0.6));
  CHECK(clipped(1, 2, 13).second == Approx(2));
  CHECK(clipped(0, -1, 13).first == 3);  // 0: no clipping
  CHECK(clipped(1000, -1, 13).first == 3);
  CHECK(clipped(1, 0, 13).second == 12);
  CHECK(clipped(std::numeric_limits<double>::infinity(), -1, 13).first == 3);

  Model model(device);
  model.train({weight});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(Optimizer(model, {.clip = nan}), Catch::Contains("clip must be in"));
  CHECK_THROWS_WITH(Optimizer(model, {.beta1 = 1}),
                    Catch::Equals("the optimizer's beta1 must be in 0 ... 0.9999999, but is 1"));
  CHECK_THROWS_WITH(Optimizer(model, {.groups = {{"*", {.clip = nan}}}}),
                    Catch::Contains("clip of a group must be in"));
  CHECK_THROWS_WITH(Optimizer(model, {.groups = {{"*.values", {}}}}),
                    Catch::Contains("no trained parameter"));
  Optimizer optimizer(model, {});
  set_gradient(model, weight, {3, 4});
  model.visit([&](const Path& path, auto& parameter) {
    if (path.str() == values) CHECK(parameter.grad.empty());  // frozen: there is nothing that could count
  });
  CHECK(optimizer.norm() == 5);
  set_gradient(model, weight, {1, nan});
  CHECK_THROWS_WITH(optimizer.norm(), Catch::Contains(weight));
  Model untrained(device);
  CHECK_THROWS_WITH(Optimizer(untrained, {}), Catch::Contains("nothing to train"));
}

namespace {
const std::string none = "nothing was thrown";  // by message_of
}

TEST_CASE("the optimizer's numbers are those that they are in float") {
  Cpu<float> device(1);
  LanguageModel<SmallTied, Cpu<float>> model(device);
  model.train(everything);
  const auto message = [&](const AdamW& adamw) { return message_of([&] { Optimizer(model, adamw); }); };
  for (const double epsilon : {0.0, 1e-300, 1e-50, 1e-46, 1e39, -1.0, std::nan("")})
    CHECK_THAT(message({.epsilon = epsilon}), Catch::Contains("epsilon must be in 1e-45 ... 3.40282e+38"));
  for (const double epsilon : {1e-45, 1e-38, 1e-8, 1.0}) CHECK(message({.epsilon = epsilon}) == none);
  for (const double number : {1e39, 1e300, -1.0, std::nan("")}) {
    CHECK_THAT(message({.learning_rate = number}),
               Catch::Contains("learning_rate must be in 0 ... 3.40282e+38"));
    CHECK_THAT(message({.weight_decay = number}), Catch::Contains("weight_decay must be in"));
    CHECK_THAT(message({.groups = {{"*", {.rate_scale = number}}}}),
               Catch::Contains("rate_scale must be in"));
  }
  for (const double number : {1e-46, 1e-300, 5e-324}) {
    CHECK_THAT(message({.learning_rate = number}), Catch::Contains("which is 0 in float"));
    CHECK_THAT(message({.clip = number}), Catch::Contains("which is 0 in float"));
    CHECK_THAT(message({.groups = {{"*", {.rate_scale = number}}}}), Catch::Contains("which is 0 in float"));
    CHECK_THAT(message({.groups = {{"*", {.clip = number}}}}), Catch::Contains("which is 0 in float"));
  }
  const auto rates = [&](double rate, double scale) {
    return message({.learning_rate = rate, .groups = {{"*", {.rate_scale = scale}}}});
  };
  CHECK_THAT(rates(1e38, 1e38), Catch::Contains("learning_rate times a rate_scale must be in"));
  CHECK_THAT(rates(1e-30, 1e-30), Catch::Contains("learning_rate times a rate_scale is 1e-60, which is 0"));
  CHECK(rates(0, 20) == none);
  CHECK(rates(1e-3, 0) == none);
}

// Gradients whose squares overflow, moments and weights at the edge: what would not be finite is refused,
// what is finite is taken, and nothing has changed where it was refused.
TEST_CASE("an update is refused exactly where it would leave a number that is not finite") {
  Cpu<float> device(1);
  using Float = LanguageModel<SmallTied, Cpu<float>>;
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  constexpr float inf = std::numeric_limits<float>::infinity(), most = std::numeric_limits<float>::max();
  struct Numbers {
    float value = 1, grad = 0.5f, exp_avg = 0, exp_avg_sq = 0;
  };
  // The message of an update of one element among others, in the first step of an optimizer or in a later
  // one.
  const auto said = [&](const Numbers& numbers, const AdamW& adamw, bool first = true, Index element = 3) {
    Float model(device);
    model.train(name);
    Optimizer optimizer(model, adamw);
    const auto at = [&](auto& parameter) { return parameter.master.data() + element; };
    model.gradients().data()[0] = 1e-3f;
    if (!first) {
      optimizer.norm();
      optimizer.update(1e-3, 1);
      optimizer.forget_sizes();
    }
    float* value = nullptr;
    model.visit([&](const Path& path, auto& parameter) {
      if (path.str() == name) value = at(parameter), parameter.grad.data()[element] = numbers.grad;
    });
    float *exp_avg = nullptr, *exp_avg_sq = nullptr;
    optimizer.visit([&](const std::string&, const auto& m, const auto& v) {
      exp_avg = m.data() + element, exp_avg_sq = v.data() + element;
    });
    *value = numbers.value, *exp_avg = numbers.exp_avg, *exp_avg_sq = numbers.exp_avg_sq;
    const std::string message = message_of([&] {
      optimizer.norm();
      optimizer.update(adamw.learning_rate, first ? 1 : 2);
    });
    if (message == none) {
      CHECK((std::isfinite(*value) && std::isfinite(*exp_avg) && std::isfinite(*exp_avg_sq)));
    } else {
      CHECK_THAT(message, Catch::Contains(name));
      CHECK((std::isnan(numbers.value) || *value == numbers.value));
      CHECK(*exp_avg == numbers.exp_avg);
      CHECK(*exp_avg_sq == numbers.exp_avg_sq);
    }
    return message;
  };
  const AdamW plain{.learning_rate = 1e-3, .clip = 0};
  for (const bool first : {true, false}) {
    INFO("first step: " << first);
    CHECK(said({}, plain, first) == none);
    CHECK(said({.grad = 1e19f}, plain, first) == none);
    CHECK_THAT(said({.grad = 2e19f}, plain, first), Catch::Contains("not finite"));
    CHECK(said({.grad = 2e19f}, {.learning_rate = 1e-3, .clip = 1}, first) == none);
    CHECK(said({.grad = most}, {.learning_rate = 1e-3, .clip = 1}, first) == none);
    CHECK_THAT(said({.grad = inf}, plain, first), Catch::Contains("the gradient of"));
    CHECK_THAT(said({.value = std::nanf("")}, plain, first), Catch::Contains("the update"));
    CHECK_THAT(said({.value = inf}, plain, first), Catch::Contains("the update"));
    CHECK(said({.value = most}, plain, first) == none);
    CHECK_THAT(said({.exp_avg_sq = -1}, plain, first), Catch::Contains("the update"));
    CHECK_THAT(said({.exp_avg_sq = inf}, plain, first), Catch::Contains("the update"));
    CHECK_THAT(said({.exp_avg = inf}, plain, first), Catch::Contains("the update"));
    CHECK(said({.exp_avg_sq = most}, plain, first) == none);
    CHECK_THAT(said({}, {.learning_rate = 3e38}, first), Catch::Contains("the update"));
    CHECK(said({}, {.learning_rate = 1e30}, first) == none);  // absurd, and finite
  }
  CHECK(said({.grad = 0}, {.epsilon = 1e-45}) == none);
  CHECK_THAT(said({.grad = 0, .exp_avg = 1}, {.epsilon = 1e-45}),
             Catch::Contains("the update"));  // 1 / 1e-45
}

// The bounds that are kept from step to step hold: long runs at rates that end in overflow are stopped in
// time.
TEST_CASE("a run whose numbers grow without end is stopped before one is not finite") {
  Cpu<float> device(1);
  LanguageModel<SmallTied, Cpu<float>> model(device);
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  model.train(name);
  const auto finite = [&] {
    bool all = true;
    model.visit([&](const Path&, auto& parameter) {
      for (Index i = 0; i < parameter.master.size(); ++i)
        all = all && std::isfinite(parameter.master.data()[i]);
    });
    return all;
  };
  Optimizer optimizer(model, {.learning_rate = 1e36, .weight_decay = 0, .clip = 0});
  for (Index i = 0; i < model.gradients().size(); ++i) model.gradients().data()[i] = 1;
  Index steps = 0;
  const std::string message = message_of([&] {
    for (; steps < 2000; ++steps) {
      optimizer.norm();
      optimizer.update(1e36, steps + 1);
      REQUIRE(finite());
    }
  });
  CHECK_THAT(message, Catch::Contains("the update would make numbers of " + name));
  CHECK(steps > 100);  // 340 steps of 1e36
  CHECK(finite());
}
