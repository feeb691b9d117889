// The devices that every op is tested on.
#pragma once

#include <tuple>

#include "midus/device/cpu.hpp"

namespace midus {

using Devices = std::tuple<Cpu<float>, Cpu<double>>;

}  // namespace midus
