#!/usr/bin/env bash
# What a crash leaves of a training run: builds a model whose checkpoints have 16 MB, then tries three kinds of fault.
#
#   run.sh PREPARE UPSCALE [KILLS]        the programs, and how often the run is killed (default 100)
set -euo pipefail
prepare=$1 upscale=$2 kills=${3:-100}
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for i in $(seq 2000); do echo "verse $((i * i)) of a text that repeats itself"; done > text
"$prepare" --bytes text --out text.bin > prepare.log
base=$(bash "$repository/examples/build_for.sh" "$repository/test/configs/bytes" | tail -n 1)
"$base/pretrain" "$repository/test/configs/bytes" --data text.bin --steps 1 --batch 1 --length 16 --out base 2> pretrain.log
"$upscale" base/final model --policy midus --positions 2,3 --num-keys 128 --top-k 16 --value-rank 32 --no-check > upscale.log
programs=$(bash "$repository/examples/build_for.sh" model | tail -n 1)
python3 -B "$here/kill_test.py" "$programs" model text.bin --kills "$kills"
python3 -B "$here/fsync_order_test.py" "$programs" model text.bin
python3 -B "$here/full_disk_test.py" "$programs" model text.bin
