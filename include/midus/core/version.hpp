// The version of the library.
#pragma once

#define MIDUS_VERSION_MAJOR 0
#define MIDUS_VERSION_MINOR 1
#define MIDUS_VERSION_PATCH 0

namespace midus {

inline constexpr const char* version_string = "0.1.0";

}  // namespace midus
