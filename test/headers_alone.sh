#!/usr/bin/env bash
# Compiles every header of midus as the only include of a unit, without a warning. nvcc takes those that all devices
# share: the ones that do not reach Eigen.
#
#   bash test/headers_alone.sh COMPILER [OPTION]...      such as -I/usr/include/eigen3
set -euo pipefail
cd "$(dirname "$0")/../include"
check() {
  local header=$1
  shift
  case $(basename "$1") in
    nvcc*)
      case $header in *_cpu.hpp) return ;; esac
      if printf '#include "%s"\n' "$header" | g++ -std=c++20 -I. -M -MG -x c++ - 2> /dev/null | grep -q Eigen; then return; fi
      set -- "$@" -x cu -ptx -o /dev/null --Werror all-warnings ;;
    *) set -- "$@" -x c++ -fsyntax-only -Wall -Wextra -Wpedantic -Werror ;;
  esac
  printf '#include "%s"\n' "$header" | "$@" -std=c++20 -I. - ||
    { echo "test/headers_alone.sh: $header does not compile alone" >&2; return 1; }
}
export -f check
find midus -name '*.hpp' | LC_ALL=C sort | xargs -P "$(nproc)" -I{} bash -c 'check "$@"' check {} "$@"
