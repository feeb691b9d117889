#!/usr/bin/env bash
# Programs for plain code, SSE, AVX2 and AVX-512 choose the same slots for the same scores, and agree at the edges
# of roots and exponentials. What the processor cannot run is run by qemu-user where that can, and is named otherwise.
#
#   bash test/ops/instruction_sets_test.sh CXX [OPTION]...
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "test/ops/instruction_sets_test.sh: $*" >&2; exit 1; }

declare -A sets=([plain]="-DEIGEN_DONT_VECTORIZE")
if [ "$(uname -m)" = x86_64 ]; then
  sets[sse]="-march=x86-64"
  sets[avx2]="-march=x86-64 -mavx2 -mfma"
  sets[avx512]="-march=x86-64 -mavx2 -mfma -mavx512f -mavx512dq -mavx512vl -mavx512bw"
fi
seen=
for name in "${!sets[@]}"; do
  # shellcheck disable=SC2086  # a list of options
  "$@" -std=c++20 -O2 ${sets[$name]} -I"$source/include" -I"$source/test" -pthread \
    "$source/test/ops/instruction_sets.cpp" -o "$work/$name"
  if ! "$work/$name" > "$work/$name.out" 2> "$work/err"; then
    grep -q "this processor has no" "$work/err" || fail "$name: $(cat "$work/err")"
    if ! qemu-x86_64 -cpu max "$work/$name" > "$work/$name.out" 2> /dev/null; then
      echo "$name: nothing here runs it"
      continue
    fi
  fi
  [ -s "$work/$name.out" ] || fail "$name printed nothing"
  seen="$seen $name"
done
for name in $seen; do
  cmp "$work/plain.out" "$work/$name.out" || fail "$name chooses other slots than plain code, or has other edges"
done
echo "the same slots and edges:$seen ($(wc -w < "$work/plain.out") words)"
case $(uname -m)$seen in
  x86_64*plain*sse* | x86_64*sse*plain*) ;;
  x86_64*) fail "plain code and SSE did not both run" ;;
esac
