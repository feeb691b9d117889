// What to say of training that needs more memory than there is.
#pragma once

#include <cstdio>
#include <string>

#include "midus/device/machine.hpp"

namespace midus {

/// 3 << 20 -> "3.0 MiB".
inline std::string memory_text(double bytes) {
  char out[48];
  std::snprintf(out, sizeof out, "%.1f MiB", bytes / (1024.0 * 1024.0));
  return out;
}

/// Empty where `needed` bytes fit, or nobody knows.
inline std::string beyond_memory(double needed, double available = machine_memory()) {
  if (available <= 0 || needed <= available) return "";
  return "more than the " + memory_text(available) +
         " of this machine: take a smaller batch, shorter windows or gradient checkpointing, or keep frozen "
         "weights as bfloat16";
}

}  // namespace midus
