#!/usr/bin/env bash
# Builds the programs that know no model's shape (prepare, train_tokenizer, upscale) for this machine's processor; the last line printed
# is their folder. examples/build_for.sh builds the others. MIDUS_TOOLS names a folder that has them already.
set -euo pipefail
if [ -n "${MIDUS_TOOLS:-}" ]; then
  echo "$MIDUS_TOOLS"
  exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake -S . -B build/quickstart -G Ninja -DCMAKE_BUILD_TYPE=Release -DMIDUS_TESTS=OFF > "$log" 2>&1 ||
  { cat "$log" >&2; exit 1; }
cmake --build build/quickstart --target prepare train_tokenizer upscale >&2
echo "$PWD/build/quickstart/examples"
