// Models as objects: where users keep them, and how many work at once.
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

using Model = LanguageModel<SmallHive, Cpu<float>>;

double loss_of(Model& model) {
  const Tokens tokens(2, 7, SmallHive::vocab_size);
  model.zero_gradients();
  return model.loss_and_gradients(tokens.batch(), 1).sum;
}

Model make(Cpu<float>& device) {
  Model model(device);
  randomise(model);
  model.train(everything);
  return model;
}

double loss_by_value(Model model) { return loss_of(model); }

}  // namespace

TEST_CASE("objects: a model works wherever it is kept", "[PB-07]") {
  Cpu<float> device(2);
  Model first = make(device);
  const double expected = loss_of(first);
  std::vector<Model> grown;
  for (int i = 0; i < 20; ++i) grown.push_back(make(device));
  for (Model& model : grown) CHECK(loss_of(model) == expected);
  const auto shared = std::make_shared<Model>(make(device));
  CHECK(loss_of(*shared) == expected);
  std::optional<Model> maybe;
  maybe.emplace(make(device));
  CHECK(loss_of(*maybe) == expected);
  const std::unique_ptr<Model> heap(new Model(make(device)));
  CHECK(loss_of(*heap) == expected);
  alignas(alignof(Model)) std::array<std::byte, sizeof(Model)> storage;
  static_assert(alignof(Model) <= 16);
  Model* const placed = new (storage.data()) Model(make(device));
  CHECK(loss_of(*placed) == expected);
  placed->~Model();
  CHECK(loss_by_value(std::move(first)) == expected);
  std::swap(grown[0], grown[1]);
  CHECK(loss_of(grown[0]) == expected);
}

TEST_CASE("objects: a model that was moved away says so, and does not touch what its parameters are now") {
  Cpu<float> device(2);
  Model first = make(device);
  const double expected = loss_of(first);
  {
    Model second = std::move(first);
    CHECK(loss_of(second) == expected);
    CHECK_THROWS_WITH(loss_of(first), Catch::Contains("it was moved"));
    Model third = make(device);
    third = std::move(second);
    CHECK(loss_of(third) == expected);
    CHECK_THROWS_WITH(loss_of(second), Catch::Contains("it was moved"));
  }
  CHECK_THROWS_WITH(loss_of(first), Catch::Contains("it was moved"));
  CHECK_THROWS_WITH(first.visit([](const Path&, const auto&) {}), Catch::Contains("it was moved"));
  CHECK_THROWS_WITH(first.train(everything), Catch::Contains("it was moved"));
  CHECK_THROWS_WITH(first.device(), Catch::Contains("it was moved"));
  first = make(device);
  CHECK(loss_of(first) == expected);
}

TEST_CASE("objects: a model of a billion parameters is no burden to the stack", "[PB-07]") {
  using Llama1B = Llama<Vocab<128256>, Width<2048>, Layers<16>, Attention<32, KvHeads<8>, HeadDim<64>>,
                        SwiGlu<8192>, TiedHead>;
  CHECK(sizeof(LanguageModel<Llama1B, Cpu<float>>) < 64 * 1024);
  CHECK(alignof(LanguageModel<Llama1B, Cpu<float>>) <= 16);
}

TEST_CASE("objects: eight threads of the user's with a device each get the bits of one", "[PB-09]") {
  Cpu<float> device(1);
  Model model = make(device);
  const double expected = loss_of(model);
  const std::vector<float> gradients = gradients_of(model);
  std::array<double, 8> losses{};
  std::array<bool, 8> same{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      Cpu<float> own(static_cast<int>(i % 3) + 1);
      Model mine = make(own);
      for (int step = 0; step < 3; ++step) losses[i] = loss_of(mine);
      same[i] = gradients_of(mine) == gradients;
    });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < 8; ++i) {
    INFO("thread " << i);
    CHECK(losses[i] == expected);
    CHECK(same[i]);
  }
}

TEST_CASE("objects: far more threads than processors change no bit", "[PB-09]") {
  Cpu<float> one(1), many(512);
  Model model = make(one), wide = make(many);
  CHECK(loss_of(wide) == loss_of(model));
  CHECK(gradients_of(wide) == gradients_of(model));
}
