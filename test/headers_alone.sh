#!/usr/bin/env bash
# Compiles every header of midus as the only include of a unit, without a warning.
#
#   bash test/headers_alone.sh COMPILER [OPTION]...      such as -I/usr/include/eigen3
set -euo pipefail
cd "$(dirname "$0")/../include"
check() {
  local header=$1
  shift
  printf '#include "%s"\n' "$header" | "$@" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Werror -I. -x c++ - ||
    { echo "test/headers_alone.sh: $header does not compile alone" >&2; return 1; }
}
export -f check
find midus -name '*.hpp' | LC_ALL=C sort | xargs -P "$(nproc)" -I{} bash -c 'check "$@"' check {} "$@"
