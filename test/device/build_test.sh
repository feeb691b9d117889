#!/usr/bin/env bash
# A program with units that do not fit together, or on a processor that lacks its instructions, says so and ends.
#
#   bash test/device/build_test.sh CXX [OPTION]...
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "test/device/build_test.sh: $*" >&2; exit 1; }
cat > one.cpp << END
#include "midus/device/cpu.hpp"
#include <cstdio>
struct Early { Early() { std::puts("constructed"); } } early;
int other();
int main() { std::puts("in main"); return other(); }
END
printf '#include "midus/device/cpu.hpp"\nint other() { midus::Cpu<float> device(1); return 0; }\n' > two.cpp
unit() { "$@" -std=c++20 -O1 -I"$source/include" -pthread; }  # unit CXX OPTION... -c FILE -o FILE
ends_with() {  # ends_with SENTENCE COMMAND...
  local sentence=$1 status=0
  shift
  "$@" > out 2> err || status=$?
  [ $status = 1 ] || fail "expected status 1, found $status: $(cat err)"
  [ ! -s out ] || fail "something ran before: $(cat out)"
  grep -qF "$sentence" err || fail "expected \"$sentence\", found: $(cat err)"
}

unit "$@" -c one.cpp -o one.o
unit "$@" -c two.cpp -o two.o
unit "$@" one.o two.o -o same
./same > out
grep -q 'in main' out || fail "two units of one build do not run"

cp -r "$source/include" newer
sed -i 's/MIDUS_VERSION_PATCH .*/MIDUS_VERSION_PATCH 77/' newer/midus/core/version.hpp
"$@" -std=c++20 -Inewer -pthread -c two.cpp -o newer.o
unit "$@" one.o newer.o -o versions
ends_with "build all of them with the same headers" ./versions
grep -q '0\.1\.77' err || fail "the other version is not named: $(cat err)"

if [ "$(uname -m)" = x86_64 ]; then
  unit "$@" -mavx2 -mfma -c two.cpp -o avx2.o
  unit "$@" -march=x86-64 -c one.cpp -o plain.o
  unit "$@" plain.o avx2.o -o sets
  if grep -qw avx2 /proc/cpuinfo; then ends_with "x86-64 AVX2 FMA" ./sets; fi
  if command -v qemu-x86_64 > /dev/null; then
    unit "$@" -mavx2 -mfma -c one.cpp -o one_avx2.o
    unit "$@" one_avx2.o avx2.o -o needs_avx2
    ends_with "this processor has no " qemu-x86_64 -cpu Nehalem ./needs_avx2
  fi
  if ! grep -qw avx512f /proc/cpuinfo; then
    unit "$@" -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma -c one.cpp -o one_512.o
    unit "$@" -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma -c two.cpp -o two_512.o
    unit "$@" one_512.o two_512.o -o needs_512
    ends_with "this processor has no AVX-512" ./needs_512
  fi
fi
