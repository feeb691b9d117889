// A model in memory made deeper, in the memory of its base.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/model/language_model.hpp"
#include "midus/upscale/deepening.hpp"

namespace midus {

/// The deeper model that `deepening` makes of `base`, whose memory it takes over; all of it is frozen. `base`
/// is of no use afterwards, and says so when it is used. Throws `Error`, and leaves the base as it is, where
/// `Deeper` is not the model that the deepening makes, or where the base's weights are stored as bfloat16.
template <ModelConfig Deeper, ModelConfig Base, Device D>
LanguageModel<Deeper, D> expand_model(LanguageModel<Base, D>&& base, const Deepening& deepening,
                                      std::uint64_t seed) {
  static_assert(
      Deeper::vocab_size == Base::vocab_size && Deeper::width == Base::width && Deeper::tied == Base::tied,
      "upscale: the deeper model and the base must have the same Vocab, Width and TiedHead");
  static_assert(std::is_same_v<typename Deeper::AttentionConfig, typename Base::AttentionConfig> &&
                    std::is_same_v<typename Deeper::FeedForward, typename Base::FeedForward>,
                "upscale: the deeper model and the base must have the same Attention and SwiGlu");
  static_assert(std::is_void_v<typename Base::Inserted> ||
                    std::is_same_v<typename Deeper::Inserted, typename Base::Inserted>,
                "upscale: the deeper model must keep the base's kind of MemoryBlock");
  using S = typename D::Scalar;

  if (deepening.layers.size() != Deeper::layers)
    fail("upscale: ", deepening.policy, " makes ", deepening.layers.size(), " layers, the model's type has ",
         Deeper::layers);
  const std::vector<Index> positions(Deeper::Where::positions.begin(), Deeper::Where::positions.end());
  if (deepening.positions != positions)
    fail("upscale: ", deepening.policy, " puts the Memory blocks elsewhere than the model's type says");
  base.visit([](const Path& path, const auto& parameter) {
    if (parameter.master.empty())
      fail("upscale: ", path.str(), " is stored as bfloat16; load the base without a 16-bit store");
  });

  std::vector<Expansion> history = history_after(deepening, base.expansions, seed);
  D& device = base.device();  // while the base is whole
  LanguageModel<Deeper, D> model(device, base.settings(), std::move(base).release());
  model.expansions = std::move(history);

  std::vector<std::string> names;
  std::map<std::string, View<S, 1>> tensors;
  std::vector<TensorSource> sources;
  model.visit([&](const Path& path, auto& parameter) {
    names.push_back(path.str());
    tensors[path.str()] = parameter.master.flat();
    sources.push_back(source_of(deepening, path.str(), parameter.role, parameter.start));
  });
  // A tensor that the base has under the same name holds the base's values now. No block moves down, so from
  // the last name to the first every source is read before it is overwritten.
  for (std::size_t i = names.size(); i-- > 0;) {
    const View<S, 1> to = tensors.at(names[i]);
    const TensorSource& source = sources[i];
    if (!source.is_copy())
      fill(source, seed, names[i], std::span(to.data(), static_cast<std::size_t>(to.size())));
    else if (source.from != names[i])
      model.device().copy(View<const S, 1>(tensors.at(source.from)), to);
  }
  return model;
}

}  // namespace midus
