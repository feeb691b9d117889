// How a layer asks its device for one step of arithmetic.
#pragma once

namespace midus {

/// `run(device, Gemm<S>{.x = x, .w = w, .y = y})` does one op on one device. An op is a struct of named,
/// shaped views (`ops/<op>.hpp`); a *form* is an overload `run(Cpu<S>&, const Gemm<S>&)` beside it
/// (`ops/<op>_cpu.hpp`). A device that has no form of an op is an error at compile time that names both: this
/// primary template. A wrapper around a device (timing, tracing, counting) is one overload for all ops. Call
/// it unqualified: the forms that a translation unit includes are found by argument-dependent look-up.
template <class Device, class Op>
void run(Device& device, const Op& op) = delete;

}  // namespace midus
