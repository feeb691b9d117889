// The models whose numbers test/torch/tables holds, as PyTorch computed them in double.
#pragma once

#include <string>
#include <vector>

#include "midus/hf.hpp"
#include "midus/midus.hpp"

namespace midus::test {

struct BaseTable {
  static constexpr const char* name = "base_llama3";
  using Config = Llama<Vocab<29>, Width<12>, Layers<2>, Attention<4, KvHeads<2>, HeadDim<8>>, SwiGlu<20>>;
};
struct HiveTable {
  static constexpr const char* name = "hive";
  using Config = Upscaled<
      Llama<Vocab<31>, Width<16>, Layers<3>, Attention<4, KvHeads<2>, HeadDim<4>>, SwiGlu<24>, TiedHead>,
      MemoryBlock<HeadwiseMemory<4, 5, 3, FactorizedValue<6>>>, BeforeLayers<0, 2>>;
};
struct DenseTable {
  static constexpr const char* name = "dense";
  using Config =
      Upscaled<Llama<Vocab<23>, Width<12>, Layers<2>, Attention<3, KvHeads<1>, HeadDim<4>>, SwiGlu<24>>,
               MemoryBlock<HeadwiseMemory<3, 4, 4, DenseValue>>, BeforeLayers<1>>;
};
struct PkmTable {
  static constexpr const char* name = "pkm";
  using Config = Upscaled<Llama<Vocab<27>, Width<10>, Layers<2>, Attention<2, HeadDim<6>>, SwiGlu<24>>,
                          MemoryBlock<ProductKeyMemory<3, 6, 2, 8>>, BeforeLayers<0>>;
};

inline std::filesystem::path table_directory(const std::string& name) {
  return std::filesystem::path(MIDUS_SOURCE_DIR) / "test/torch/tables" / name;
}

/// A JSON list of equally long lists of ids.
struct IdTable {
  std::vector<std::int32_t> ids;
  Shape<2> shape{};

  explicit IdTable(const Json& json)
      : shape{{static_cast<Index>(json.size()), static_cast<Index>(json[0].size())}} {
    for (const Json& row : json)
      for (const Json& id : row) ids.push_back(id.get<std::int32_t>());
  }
  View<const std::int32_t, 2> view() const { return {ids.data(), shape}; }
};

}  // namespace midus::test
