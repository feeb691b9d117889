#!/usr/bin/env bash
# Runs check.py with two transformers 4, an old one and the last, in Python environments of their own.
#
#   bash test/transformers/run_with_4.sh [BUILD]
#
# BUILD is a build of midus with its tests (default: build/test, which test/run.sh makes). The environments lie at
# $MIDUS_TRANSFORMERS_4_VENV, by default build/transformers-4-venv, with the version behind it; they take PyTorch from the one of
# test/torch/install.sh. Last run with transformers 4.46.3 and 4.57.6, and torch 2.15.0: all passed. A plain Llama whose config.json has transformers 5's
# `rope_parameters` is read by midus alone then, since transformers 4 passes over them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=${1:-build/test}
for needed in "$build/examples/upscale" "$build/test/load_and_save" "$build/test/odd/logits"; do
    [ -x "$needed" ] || {
        echo "run_with_4.sh: there is no $needed: build the tests first (test/run.sh), or name the build" >&2
        exit 1
    }
done
for version in 4.46.3 4.57.6; do
    python=$(bash test/torch/venv_beside.sh "${MIDUS_TRANSFORMERS_4_VENV:-build/transformers-4-venv}-$version" "transformers==$version" |
        tail -n 1)
    "$python" test/transformers/check.py --upscale "$build/examples/upscale" --load-and-save "$build/test/load_and_save" \
        --programs "$build/test/odd:test/configs/odd/config.json"
done
