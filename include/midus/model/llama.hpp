// How a model's shape is said in a type.
#pragma once

#include <array>
#include <concepts>
#include <type_traits>

#include "midus/layers/attention.hpp"
#include "midus/layers/swiglu.hpp"
#include "midus/model/memory_block.hpp"

namespace midus {

/// Tokens that the model knows, V.
template <int Size>
struct Vocab {
  static_assert(Size >= 1, "Vocab: a vocabulary has at least 1 token");
};
/// The width of the residual stream, d.
template <int Size>
struct Width {
  static_assert(Size >= 1, "Width: must be at least 1");
};
/// Transformer layers of the base, L.
template <int Count>
struct Layers {
  static_assert(Count >= 1, "Layers: a model has at least 1 layer");
};
/// The output head is the embedding's table.
struct TiedHead {};

/// Where Memory blocks stand: each just before the layer of that number.
template <int... Positions>
struct BeforeLayers {
  static constexpr std::size_t count = sizeof...(Positions);
  static constexpr std::array<int, sizeof...(Positions)> positions{Positions...};

  static constexpr bool ascending() {
    for (std::size_t i = 1; i < positions.size(); ++i)
      if (positions[i] <= positions[i - 1]) return false;
    return true;
  }
  static_assert(ascending(), "BeforeLayers: positions must be ascending and distinct");
};

namespace detail {
template <class...>
inline constexpr bool never = false;
}

/// The shape of a Llama-architecture model; a tag without data.
/// `Llama<Vocab<4096>, Width<256>, Layers<6>, Attention<8, KvHeads<4>>, SwiGlu<704>>`, and `TiedHead` as a
/// last part where the head is the embedding's table.
template <class... Parts>
struct Llama {
  static_assert(detail::never<Parts...>,
                "Llama: write Llama<Vocab<V>, Width<d>, Layers<L>, Attention<H, ...>, SwiGlu<f>>, or with "
                "TiedHead last");
};

template <int V, int D, int L, class AttentionPart, class FeedForwardPart, class... Tied>
requires(sizeof...(Tied) == 0 ||
         (sizeof...(Tied) == 1 &&
          (std::is_same_v<Tied, TiedHead> &&
           ...))) struct Llama<Vocab<V>, Width<D>, Layers<L>, AttentionPart, FeedForwardPart, Tied...> {
  static constexpr int vocab_size = V, width = D, layers = L;
  static constexpr bool tied = sizeof...(Tied) == 1;
  using AttentionConfig = AttentionPart;
  using FeedForward = FeedForwardPart;
  using Inserted = void;
  using Where = BeforeLayers<>;
};

/// What may be inserted into a stack.
template <class B>
concept InsertedBlock = requires {
  typename B::MemoryConfig;
};
/// Where.
template <class P>
concept Placement = requires {
  { P::count } -> std::convertible_to<std::size_t>;
  P::positions;
};

/// A base model made deeper: `Upscaled<Base, MemoryBlock<Memory>, BeforeLayers<1, 3, 5>>`.
template <class Base, InsertedBlock Block, Placement Positions>
struct Upscaled : Base {
  static_assert(std::is_void_v<typename Base::Inserted>,
                "Upscaled: Base must be a plain Llama; name all positions at once");
  static_assert(Positions::count >= 1, "Upscaled: name at least one position");
  static_assert(Positions::positions.front() >= 0 && Positions::positions.back() < Base::layers,
                "Upscaled: every position must name a layer of Base");
  using BaseConfig = Base;
  using Inserted = Block;
  using Where = Positions;
};

}  // namespace midus
