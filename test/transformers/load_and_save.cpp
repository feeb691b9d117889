// Reads a model, writes its logits, and saves it again, for check.py beside this file:
//
//     load_and_save DIRECTORY IDS_JSON LOGITS [OUT SHARD_BYTES]
//
// One program for a model of every kind, since what the compiler does for each kind is little beside what
// they share. LOGITS is a safetensors file with `logits` [B,T,V] in F32; OUT is the model as `midus::save`
// writes it.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "midus/hf.hpp"
#include "midus/midus.hpp"

namespace {

using namespace midus;

using Untied = Llama<Vocab<61>, Width<36>, Layers<4>, Attention<6, KvHeads<2>>, SwiGlu<20>>;
using Tied =
    Llama<Vocab<67>, Width<36>, Layers<4>, Attention<6, KvHeads<3>, HeadDim<10>>, SwiGlu<28>, TiedHead>;
using Hive = Upscaled<Untied, MemoryBlock<HeadwiseMemory<6, 9, 5, FactorizedValue<7>>>, BeforeLayers<1, 3>>;
using Dense = Upscaled<Untied, MemoryBlock<HeadwiseMemory<6, 5, 3, DenseValue>>, BeforeLayers<0, 2>>;
using Pkm = Upscaled<Tied, MemoryBlock<ProductKeyMemory<3, 9, 5, 14>>, BeforeLayers<2>>;

template <class Config>
void load_and_save(const std::vector<std::string>& arguments) {
  const Json rows = read_json_file(arguments[1]);
  const Shape<2> shape{{static_cast<Index>(rows.size()), static_cast<Index>(rows.at(0).size())}};
  std::vector<std::int32_t> ids;
  for (const Json& row : rows)
    for (const Json& id : row) ids.push_back(id.get<std::int32_t>());

  Cpu<float> device(1);
  auto model = load<Config>(arguments[0], device);
  const auto scope = device.scope();
  const auto logits = model.logits({ids.data(), shape});
  SafetensorsWriter writer(arguments[2],
                           {{"logits", Dtype::f32, {shape[0], shape[1], Index{Config::vocab_size}}}});
  writer.write("logits", std::as_bytes(std::span(logits.data(), static_cast<std::size_t>(logits.size()))));
  writer.commit();
  if (arguments.size() > 3)
    save(model, arguments[3], {.like = arguments[0], .shard_bytes = std::stoull(arguments[4])});
}

/// Runs the first of the kinds whose shape is the model's.
template <class... Configs>
void of_its_kind(const std::vector<std::string>& arguments) {
  const LlamaConfig config = read_llama_config(arguments[0]);
  bool found = false;
  ((found = found || (shape_differences(shape_of<Configs>(), config).empty() &&
                      (load_and_save<Configs>(arguments), true))),
   ...);
  if (!found) fail(arguments[0], ": no kind of this program has the shape ", shape_key(config));
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() != 3 && arguments.size() != 5) {
    std::fprintf(stderr, "usage: load_and_save DIRECTORY IDS_JSON LOGITS [OUT SHARD_BYTES]\n");
    return 2;
  }
  of_its_kind<Untied, Tied, Hive, Dense, Pkm>(arguments);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "load_and_save: %s\n", error.what());
  return 1;
}
