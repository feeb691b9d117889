# What midus' own tests, programs and benchmarks are compiled with. A program that uses midus gets none of this.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

add_library(midus_settings INTERFACE)
target_compile_options(midus_settings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
if(MIDUS_WERROR)
  target_compile_options(midus_settings INTERFACE -Werror)
endif()
if(MIDUS_NATIVE)
  target_compile_options(midus_settings INTERFACE -march=native)
endif()
