// What a unit was built for, checked when the program starts: a processor that lacks the unit's instructions,
// or another unit built otherwise, ends it with a sentence instead of a crash or wrong numbers.
#pragma once

#include <cstdio>
#include <cstring>

#include "midus/core/version.hpp"
#include "midus/device/blas.hpp"
#include "midus/device/eigen.hpp"

#define MIDUS_TEXT_OF(x) #x
#define MIDUS_TEXT(x) MIDUS_TEXT_OF(x)
#ifdef __AVX512F__
#define MIDUS_BUILT_FOR_AVX512 " AVX-512"
#else
#define MIDUS_BUILT_FOR_AVX512 ""
#endif
#ifdef __AVX2__
#define MIDUS_BUILT_FOR_AVX2 " AVX2"
#else
#define MIDUS_BUILT_FOR_AVX2 ""
#endif
#ifdef __FMA__
#define MIDUS_BUILT_FOR_FMA " FMA"
#else
#define MIDUS_BUILT_FOR_FMA ""
#endif
#if defined(__x86_64__)
#define MIDUS_BUILT_FOR "x86-64" MIDUS_BUILT_FOR_AVX512 MIDUS_BUILT_FOR_AVX2 MIDUS_BUILT_FOR_FMA
#elif defined(__aarch64__)
#define MIDUS_BUILT_FOR "64-bit ARM"
#else
#define MIDUS_BUILT_FOR "another processor"
#endif

/// Units of one program must agree in this: their inline functions are one to the linker.
#define MIDUS_BUILD \
  "midus " MIDUS_TEXT(MIDUS_VERSION_MAJOR) "." MIDUS_TEXT(MIDUS_VERSION_MINOR) "." MIDUS_TEXT( \
      MIDUS_VERSION_PATCH) " for " MIDUS_BUILT_FOR " with Eigen " MIDUS_TEXT(EIGEN_WORLD_VERSION) "." MIDUS_TEXT( \
      EIGEN_MAJOR_VERSION) "." MIDUS_TEXT(EIGEN_MINOR_VERSION) ", products by " MIDUS_GEMM

namespace midus::detail {

/// What the first unit of the program was built as. Not const: a compiler would take each unit's own.
inline const char* build_of_program = MIDUS_BUILD;

#if defined(__x86_64__)
#define MIDUS_WITHOUT_AVX __attribute__((target("no-avx")))
#else
#define MIDUS_WITHOUT_AVX
#endif

/// Runs before what else the unit constructs, in instructions that every processor has.
__attribute__((constructor(101))) MIDUS_WITHOUT_AVX static void check_build() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const char* missing = nullptr;
#ifdef __AVX__
  if (!__builtin_cpu_supports("avx")) missing = "AVX";
#endif
#ifdef __AVX2__
  if (!__builtin_cpu_supports("avx2")) missing = "AVX2";
#endif
#ifdef __FMA__
  if (!__builtin_cpu_supports("fma")) missing = "FMA";
#endif
#ifdef __AVX512F__
  if (!__builtin_cpu_supports("avx512f")) missing = "AVX-512 (F)";
#endif
#ifdef __AVX512DQ__
  if (!__builtin_cpu_supports("avx512dq")) missing = "AVX-512 (DQ)";
#endif
#ifdef __AVX512BW__
  if (!__builtin_cpu_supports("avx512bw")) missing = "AVX-512 (BW)";
#endif
#ifdef __AVX512VL__
  if (!__builtin_cpu_supports("avx512vl")) missing = "AVX-512 (VL)";
#endif
  if (missing != nullptr) {
    std::fprintf(stderr, "%s: this processor has no %s; build the program on this machine, or for x86-64\n",
                 MIDUS_BUILD, missing);
    std::_Exit(1);
  }
#endif
  if (std::strcmp(build_of_program, MIDUS_BUILD) != 0) {
    std::fprintf(stderr,
                 "a program cannot have units of \"%s\" and of \"%s\": build all of them with the same "
                 "headers and options\n",
                 build_of_program, MIDUS_BUILD);
    std::_Exit(1);
  }
}

}  // namespace midus::detail
