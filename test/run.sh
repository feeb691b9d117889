#!/usr/bin/env bash
# Runs the tests of midus on a Debian 12 machine: installs what is missing, builds in Release for this machine's
# processor, runs the tests, and compares the programs with PyTorch. Ends with a table of seconds per part and
# ctest's own summary. With --all it runs the long tests too.
#
#   bash test/run.sh [--all] [--no-torch] [--build DIR]
set -euo pipefail
cd "$(dirname "$0")/.."

torch=yes
build=build/test
skip=(-LE long)
while [ $# -gt 0 ]; do
  case "$1" in
    --all) skip=() ;;
    --no-torch) torch=no ;;
    --build) build=$2; shift ;;
    -h|--help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "test/run.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done

parts=()
summary() {  # also where a part failed
  echo
  echo "Seconds per part:"
  printf '%s\n' "${parts[@]}"
  if [ -f "$build/ctest.log" ]; then grep -E 'tests passed|tests failed|Total Test time' "$build/ctest.log" || true; fi
}
part() {  # part NAME COMMAND...: runs a command and notes its seconds
  local name=$1 begin=$SECONDS status=0
  shift
  echo "== $name"
  "$@" || status=$?
  parts+=("$(printf '%6d s  %s' $((SECONDS - begin)) "$name")")
  return $status
}
rm -f "$build/ctest.log"
trap summary EXIT

part "install packages" bash scripts/install_packages.sh g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev \
  libcli11-dev catch2 python3 python3-venv git pkg-config
if [ "$torch" = yes ]; then
  part "install PyTorch" sh test/torch/install.sh
  MIDUS_TORCH_PYTHON=$(sh test/torch/install.sh | tail -n 1)
  export MIDUS_TORCH_PYTHON
fi
part "configure" cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DMIDUS_TESTS=ON -DMIDUS_WERROR=ON \
  -DMIDUS_TORCH_PYTHON="${MIDUS_TORCH_PYTHON:-}"
part "build" cmake --build "$build" -j "$(nproc)"
part "test" ctest --test-dir "$build" --output-on-failure -j "$(nproc)" --output-log "$build/ctest.log" "${skip[@]}"
