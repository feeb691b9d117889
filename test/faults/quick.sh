#!/usr/bin/env bash
# What disturbs a training run, on a model so small that it takes a minute.
#
#   quick.sh PROGRAMS PREPARE [EACH]      the programs for test/configs/odd, and how often each thing happens (default 10)
set -euo pipefail
programs=$1 prepare=$2 each=${3:-10}
here=$(cd "$(dirname "$0")" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for i in $(seq 300); do echo "verse $((i * i)) of a text that repeats itself"; done > text
"$prepare" --bytes text --out text.bin > prepare.log
"$programs/pretrain" "$here/../configs/odd" --data text.bin --steps 1 --batch 1 --length 16 --out start 2> pretrain.log
python3 -B "$here/fault_test.py" "$programs" start/final text.bin
python3 -B "$here/signal_test.py" "$programs" start/final text.bin --each "$each"
python3 -B "$here/kill_test.py" "$programs" start/final text.bin --kills "$each" --steps 20 --small
python3 -B "$here/kill_test.py" "$programs" start/final text.bin --kills "$each" --steps 20 --small --process-1
