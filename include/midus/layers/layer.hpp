// What a layer is, and what all layers are told about the tokens at hand.
#pragma once

#include "midus/core/parameter.hpp"
#include "midus/core/run.hpp"
#include "midus/core/visit.hpp"
#include "midus/device/device.hpp"

namespace midus {

/// The tokens of one call: `batch` sequences of `length` tokens, R = batch · length rows, sequence by
/// sequence.
template <class Device>
struct Sequences {
  Index batch, length;
  View<const std::int32_t, 1> positions;  // [R] where each token stands in its sequence
  In<Device, 2> cos, sin;                 // [P,D/2] rotary tables, a row per position
  View<const std::int32_t, 1> past{};     // [B] tokens that came before, in a cache; empty: none

  Index rows() const { return batch * length; }
};

/// The layer contract. A layer is a struct that holds its parameters (views that the model binds) and its
/// run-time numbers. It names no device and no model.
///
/// - `Saved` holds what backward needs and nothing more: views into the device's arena.
/// - Its parameters are made of `TensorSpec`s, which say their names, shapes, roles and starts.
/// - `visit(self, path, f)` calls `f(path / "name", parameter)` for every parameter, in one fixed order.
/// - `forward(device, ..., saved, ...)` overwrites its result (or adds to it, where it says so), and
///   allocates what it saves before any scratch, so that scratch can be given back.
/// - `backward(device, ..., saved, ...)` *adds* to the gradients of parameters, and overwrites the
///   gradient of its input (or adds to it, where it says so). A frozen parameter (an empty gradient)
///   costs no work.
///
/// Layers differ in what goes in and out; the uniform contract is the block's
/// (`model/transformer_block.hpp`).
template <class L>
concept Layer = requires(L& layer, const Path& path) {
  typename L::Saved;
  L::visit(layer, path, [](const Path&, auto&) {});
};

/// Calls f(path / name, parameter) for each of a layer's own parameters.
template <class F, class... Parameters>
void visit_each(const Path& path, F&& f, Parameters&... parameters) {
  (f(path / parameters.name, parameters), ...);
}

}  // namespace midus
