#!/usr/bin/env bash
# What disturbs a training run, on a model so small that it takes a minute.
#
#   quick.sh PROGRAMS PREPARE [EACH]      the programs for test/configs/odd, and how often each thing happens (default 10)
set -euo pipefail
programs=$1 prepare=$2 each=${3:-10}
here=$(cd "$(dirname "$0")" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"  # another user tries one of the faults
cd "$work"
for i in $(seq 300); do echo "verse $((i * i)) of a text that repeats itself"; done > text
"$prepare" --bytes text --out text.bin > prepare.log
"$programs/pretrain" "$here/../configs/odd" --data text.bin --steps 1 --batch 1 --length 16 --out start 2> pretrain.log
try() {  # try FOLDER SCRIPT OPTION...: each in a folder of its own
  local folder=$1 script=$2
  shift 2
  mkdir "$folder"
  cp -r start text.bin "$folder"
  (cd "$folder" && python3 -B "$here/$script" "$programs" start/final text.bin "$@")
}
try faults fault_test.py
try signals signal_test.py --each "$each"
try kills kill_test.py --kills "$each" --steps 20 --small
try process-1 kill_test.py --kills "$each" --steps 20 --small --process-1
