#!/usr/bin/env bash
# Compares the program `score` with lm-evaluation-harness, in a Python environment of its own (check.py says on what).
#
#   bash test/lm_eval/run.sh [BUILD]
#
# BUILD is a build of midus with its programs (default: build/test, which test/run.sh makes); the programs of the model's
# shape are built by examples/build_for.sh. The environment lies at $MIDUS_LM_EVAL_VENV, by default build/lm-eval-venv; it
# takes PyTorch from the one of test/torch/install.sh. After that no network is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=${1:-build/test}
for needed in "$build/examples/train_tokenizer" "$build/examples/prepare"; do
    [ -x "$needed" ] || {
        echo "run.sh: there is no $needed: build midus first (test/run.sh), or name the build" >&2
        exit 1
    }
done
python=$(bash test/torch/venv_beside.sh "${MIDUS_LM_EVAL_VENV:-build/lm-eval-venv}" 'lm-eval[hf]>=0.4.9.2,<0.5' | tail -n 1)
programs=$(bash examples/build_for.sh test/lm_eval | tail -n 1)
exec "$python" test/lm_eval/check.py --text-programs "$build/examples" --programs "$programs"
