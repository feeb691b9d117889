#!/usr/bin/env bash
# Up-scales a model as a user does: no program is stood in for, and PyTorch judges the result.
#
#   upscale_end_to_end.sh UPSCALE PYTHON CONFIG [OPTION...]
#
# UPSCALE is the program, PYTHON one with PyTorch (test/torch/install.sh), CONFIG the base model's config.json, and
# the options go to UPSCALE, whose check builds the programs of both models with examples/build_for.sh.
set -euo pipefail
upscale=$1 python=$2 config=$3
shift 3

fail() {
    echo "upscale_end_to_end.sh: $*" >&2
    exit 1
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
torch=$repository/test/torch
models=$(mktemp -d)
trap 'rm -rf "$models"' EXIT

"$python" "$torch/random_checkpoint.py" "$models/base" --config "$config"
"$upscale" "$models/base" "$models/deeper" "$@" | tee "$models/upscale.log"
grep -Eq "^checked: all [0-9,]+ logits equal the base's$" "$models/upscale.log" || fail "the logits were not checked"
grep -qxF "wrote $models/deeper" "$models/upscale.log" || fail "the model was not written"

# In a new model the memories' values are zero, and so is every gradient in a Memory block but theirs.
programs=$(bash "$repository/examples/build_for.sh" "$models/deeper" | tail -n 1)
for precision in '' --double; do
    # shellcheck disable=SC2086  # no precision is no argument
    "$python" "$torch/compare.py" "$programs/logits" "$models/deeper" $precision \
        --allow-zero '\.memory_blocks\.\d+\.(?!memory\.values$)'
done

# The same shape with values that are not zero: every gradient has something to say.
"$python" "$torch/random_checkpoint.py" "$models/random" --config "$models/deeper/config.json"
for precision in '' --double; do
    # shellcheck disable=SC2086
    "$python" "$torch/compare.py" "$programs/logits" "$models/random" $precision
done
