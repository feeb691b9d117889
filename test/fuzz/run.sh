#!/usr/bin/env bash
# Fuzzes what reads files from outside, with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   bash test/fuzz/run.sh [--seconds N | --runs N] [safetensors|index|config|tokenizer]...      (default: 60 seconds each, all)
#
# Starts from test/fuzz/seeds/; what it learns stays in build/fuzz/. An input that breaks a promise is printed by name.
set -euo pipefail
cd "$(dirname "$0")/../.."
limit=(-max_total_time=60)
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds) limit=("-max_total_time=$2"); shift 2 ;;
    --runs) limit=("-runs=$2"); shift 2 ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || set -- safetensors index config tokenizer

build=build/fuzz
mkdir -p "$build"
fuzz() {
  local name=$1 build=$2
  shift 2
  clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iinclude -Itest -Itest/fuzz \
    "test/fuzz/${name}_fuzz.cpp" -lpcre2-8 -o "$build/$name"
  mkdir -p "$build/corpus/$name"
  local status=0
  "$build/$name" -max_len=4096 -rss_limit_mb=512 -malloc_limit_mb=256 -timeout=10 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$build/$name-" "$@" "$build/corpus/$name" "test/fuzz/seeds/$name" > "$build/$name.log" 2>&1 || status=$?
  { echo "== $name"; grep -vE '^(INFO|#|"|[[:space:]]*NEW_FUNC)' "$build/$name.log"; } || true
  return $status
}
export -f fuzz
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -euc 'fuzz "$@"' fuzz {} "$build" "${limit[@]}"
