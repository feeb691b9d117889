#!/usr/bin/env bash
# How the loss after continued pre-training depends on MIDUS' n, k and r, and on where its blocks stand: one of them at
# a time is changed around a centre, and the base up-scaled, trained and evaluated with each (docs/analyses.md).
#
#     bash examples/sweep.sh BASE --data new.train.bin --eval new=new.test.bin --eval old=old.test.bin --out runs/sweep
#
# Interrupted, the same command goes on where it was. `--help` explains the options.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

for needed in python3 gnuplot; do
  command -v "$needed" > /dev/null || { echo "sweep.sh: $needed is needed: install it (Debian: ${needed/%plot/plot-nox})" >&2; exit 1; }
done
exec python3 -B "$here/analyses/sweep.py" "$@"
