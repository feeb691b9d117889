#!/usr/bin/env bash
# What scripts/new_op.sh makes compiles and passes its tests, is part of the umbrella, and keeps to the map.
#
#   bash test/scripts/new_op_test.sh CXX [OPTION]...
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
command -v clang-format > /dev/null || { echo "SKIPPED: there is no clang-format"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$source"/{scripts,include,test,docs,python,.clang-format} "$work"
cd "$work"
fail() { echo "test/scripts/new_op_test.sh: $*" >&2; exit 1; }

bash scripts/new_op.sh cube_root_2 > log || { cat log; fail "the script failed"; }
grep -q 'struct CubeRoot2Backward' include/midus/ops/cube_root_2.hpp || fail "the type's name is not CubeRoot2Backward"
python3 scripts/check_tree.py
clang-format --dry-run -Werror include/midus/ops/cube_root_2*.hpp test/ops/cube_root_2_test.cpp include/midus/midus.hpp
printf '#include "midus/midus.hpp"\nmidus::CubeRoot2<float> op;\nint main() { midus::Cpu<float> d(1); run(d, op); }\n' > umbrella.cpp
"$@" -std=c++20 -O1 -Iinclude -fsyntax-only umbrella.cpp
"$@" -std=c++20 -O1 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Iinclude -Itest \
  test/ops/cube_root_2_test.cpp test/support/catch_main.cpp -pthread -o cube_root_2_test
./cube_root_2_test
if bash scripts/new_op.sh cube_root_2 2> log; then fail "it replaced an op"; fi
grep -q 'exists already' log || fail "no sentence about the op that is there"
for name in "" Cube 2cube cube- ../cube; do
  if bash scripts/new_op.sh "$name" 2> log; then fail "it took the name \"$name\""; fi
  grep -q 'expected one name' log || fail "no sentence about the name \"$name\""
done
