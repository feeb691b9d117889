// What a parameter is decides how it is treated, and never how it is called: a memory whose tensors have
// names of their own is treated as the library's.
#include <map>

#include "midus/train/head_ablation.hpp"
#include "midus/train/trainer.hpp"
#include "midus/upscale/insert_memory.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/own_values.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

template <class Value>
using Shallow = Upscaled<SmallTied, MemoryBlock<HeadwiseMemory<2, 4, 2, Value>>, BeforeLayers<1>>;
template <class Value>
using Model = LanguageModel<Shallow<Value>, Cpu<double>>;

/// What a step without gradients does to the values of a memory block: decay alone.
template <class Value>
std::map<std::string, bool> decayed(const std::string& table) {
  Cpu<double> device(1);
  Model<Value> model(device);
  randomise(model);
  model.train("model.memory_blocks.*");
  std::map<std::string, double> before;
  const auto first = [](const auto& parameter) { return parameter.master.data()[0]; };
  model.visit([&](const Path& path, auto& parameter) { before[path.str()] = first(parameter); });
  Optimizer optimizer(model, {});
  model.zero_gradients();
  optimizer.norm();
  optimizer.update(0.1, 1);
  std::map<std::string, bool> changed;
  model.visit([&](const Path& path, auto& parameter) {
    if (!parameter.frozen())
      changed[path.str() == "model.memory_blocks.0.memory." + table ? "table" : path.str()] =
          first(parameter) != before[path.str()];
  });
  return changed;
}

}  // namespace

TEST_CASE("roles: decay spares a memory's table, whatever its name") {
  const auto own = decayed<BankValue<3>>("bank"), hive = decayed<FactorizedValue<3>>("values");
  CHECK_FALSE(own.at("table"));
  CHECK_FALSE(hive.at("table"));
  CHECK(own.at("model.memory_blocks.0.memory.expansion"));
  CHECK(hive.at("model.memory_blocks.0.memory.value_proj"));
  CHECK(own.at("model.memory_blocks.0.memory.row_keys"));
  CHECK_FALSE(own.at("model.memory_blocks.0.input_layernorm.weight"));
}

TEST_CASE("roles: a table is looked up, and so counts as no product, whatever its name") {
  Cpu<double> device(1);
  Model<BankValue<3>> own(device);
  Model<FactorizedValue<3>> hive(device);
  own.train(everything), hive.train(everything);
  CHECK(training_flops_per_token(own, 10) == training_flops_per_token(hive, 10));
}

TEST_CASE("roles: a memory that no gradient can wake is named, whatever its tensors are called") {
  TemporaryDirectory directory;
  TokenWriter writer(directory / "data.bin", {.vocabulary = SmallTied::vocab_size});
  writer.append(std::vector<std::int32_t>(50, 3));
  writer.commit();
  Cpu<double> device(1);
  Model<BankValue<3>> model(device);
  randomise(model);
  model.train(everything);
  const auto start = [&] {
    Trainer trainer(model, AdamW{.learning_rate = 0}, TokenFile(directory / "data.bin"),
                    {.batch = 1, .length = 8, .steps = 1});
    trainer.step();
  };
  const auto clear = [&](Role role) {
    model.visit([&](const Path&, auto& parameter) {
      if (parameter.role == role) device.fill(parameter.master, 0.0);
    });
  };
  clear(Role::table);
  CHECK_NOTHROW(start());
  clear(Role::head_output);
  CHECK_THROWS_WITH(start(), Catch::Contains("model.memory_blocks.0 cannot learn"));
}

TEST_CASE("roles: a head is taken away by what all its reads pass, whatever its name") {
  Cpu<double> device(1);
  Model<BankValue<3>> model(device);
  randomise(model);
  const WithoutHead ablated(model, 0, 1);
  model.visit([&](const Path& path, auto& parameter) {
    if (path.str() != "model.memory_blocks.0.memory.expansion") return;
    const Index half = parameter.master.size() / 2;
    for (Index i = 0; i < half; ++i) CHECK(parameter.master.data()[half + i] == 0);
    CHECK(parameter.master.data()[0] != 0);
  });
}
