#!/usr/bin/env bash
# Runs the tests of midus on a Debian 12 machine: installs what is missing, builds in Release for this machine's
# processor, runs the tests, and compares the programs with PyTorch. Ends with a table of seconds per part and
# ctest's own summary. With --all also the long tests, the sanitizers, the fuzzers, a sample of the mutations, the
# benchmarks' guard, and the reference by doxygen.
#
# With --nightly only what takes hours and is labelled so in test/CMakeLists.txt (add_test, LABELS nightly: crashes, 100
# of each, ...); it ends with the record that goes into test/RESULTS.md.
#
#   bash test/run.sh [--all | --nightly] [--no-torch] [--build DIR]
set -euo pipefail
cd "$(dirname "$0")/.."

torch=yes
all=no
build=build/test
nightly=no
skip=(-LE 'long|nightly')
benchmarks=OFF
while [ $# -gt 0 ]; do
  case "$1" in
    --all) all=yes; skip=(-LE nightly); benchmarks=ON ;;
    --nightly) nightly=yes; skip=(-L nightly) ;;
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
  nightly_age
}
nightly_age() {  # how old the last record of the nightly tests is
  local commit behind
  commit=$(sed -n 's/^Last record: commit \([0-9a-f]*\),.*/\1/p' test/RESULTS.md)
  behind=$(git rev-list --count "${commit:-none}..HEAD" 2>/dev/null) || behind='an unknown number of'
  echo "The last record of the nightly tests (test/RESULTS.md) is ${commit:-missing}: $behind commits behind."
}
part() {  # part NAME COMMAND...: runs a command and notes its seconds
  local name=$1 begin=$SECONDS status=0
  shift
  echo "== $name"
  "$@" || status=$?
  parts+=("$(printf '%6d s  %s%s' $((SECONDS - begin)) "$name" "$([ $status = 0 ] || echo "  FAILED")")")
  return $status
}
rm -f "$build/ctest.log"
trap summary EXIT

packages=(g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libcli11-dev libpcre2-dev catch2 python3 python3-venv git pkg-config)
if [ "$all" = yes ]; then packages+=(clang clang-format doxygen gnuplot-nox libbenchmark-dev libc++-dev libc++abi-dev libclang-rt-14-dev libopenblas-dev make strace); fi
part "install packages" bash scripts/install_packages.sh "${packages[@]}"
if [ "$torch" = yes ]; then
  part "install PyTorch" sh test/torch/install.sh
  MIDUS_TORCH_PYTHON=$(sh test/torch/install.sh | tail -n 1)
  export MIDUS_TORCH_PYTHON
fi
part "configure" cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DMIDUS_TESTS=ON -DMIDUS_WERROR=ON \
  -DMIDUS_BENCHMARKS=$benchmarks -DMIDUS_TORCH_PYTHON="${MIDUS_TORCH_PYTHON:-}"
part "build" cmake --build "$build" -j "$(nproc)"
failed=0  # from here on a part that fails does not keep the next ones from running
part "test" ctest --test-dir "$build" --output-on-failure -j "$(nproc)" --output-log "$build/ctest.log" "${skip[@]}" || failed=1
if [ "$nightly" = yes ]; then
  echo
  echo "For test/RESULTS.md, under \"Nightly\":"
  echo "Last record: commit $(git rev-parse --short HEAD), $(date +%Y-%m-%d)."
  echo
  echo "| part | | seconds |"
  echo "|---|---|---:|"
  sed -nE 's,^ *[0-9]+/[0-9]+ +Test +#[0-9]+: (.*[^ .*]) *\.*[ *]*(Passed|Failed|Timeout|Not Run|Skipped|Exception[^ ]*) +([0-9.]+) sec.*,| \1 | \2 | \3 |,p' "$build/ctest.log"
fi
if [ "$all" = no ]; then exit $failed; fi

sanitize() {  # sanitize PRESET FOLDER...: the tests of these folders
  local preset=$1 targets=() labels
  shift
  for folder in "$@"; do
    for file in test/"$folder"/*_test.cpp; do
      case $file in */tables_test.cpp | */llama_3_2_1b_test.cpp) continue ;; esac  # a program per shape; 5 GB
      file=${file#test/}
      targets+=("test_${file//\//_}")
    done
  done
  targets=("${targets[@]%_test.cpp}")
  labels=$(IFS='|'; echo "^($*)$")
  cmake --preset "$preset" -DMIDUS_TORCH_PYTHON= > /dev/null &&
  cmake --build "build/$preset" -j "$(nproc)" --target "${targets[@]}" &&
  ctest --test-dir "build/$preset" --output-on-failure -j "$(nproc)" -L "$labels" -LE 'long|builds'
}
part "speed, by ratios" python3 -B bench/guard/guard.py "$build/bench" || failed=1
part "fuzz, 60 s each" bash test/fuzz/run.sh --seconds 60 || failed=1
part "address and undefined behaviour" sanitize asan core device ops layers model io upscale train || failed=1
part "threads" sanitize tsan device ops layers || failed=1
part "mutations, a sample" python3 test/mutations/run.py --seed 1 --faults 3 || failed=1
part "reference" doxygen docs/Doxyfile || failed=1
exit $failed
