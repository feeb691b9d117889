#!/usr/bin/env bash
# A value policy of one's own goes the whole way by the programs: built with its header they make a model deeper with it,
# train it, evaluate it and let it speak; those that are built without it refuse the model by the policy's name.
#
#   own_value_policy_test.sh PROGRAMS [PYTHON]
#
# PROGRAMS is the folder of the programs that know no model's shape, built without the policy. PYTHON is one with
# transformers, which opens the model too.
set -euo pipefail
programs=$(cd "$1" && pwd)
python=${2:-}
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
header=$repository/examples/gated_value.hpp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "own_value_policy_test.sh: $*" >&2
    exit 1
}
expect_refusal() {  # expect_refusal TEXT COMMAND...: it fails, and says TEXT
    local text=$1 said
    shift
    if said=$("$@" 2>&1); then fail "not refused: $*"; fi
    case $said in *"$text"*) ;; *) fail "expected \"$text\", found: $said" ;; esac
}

cmake -S "$repository" -B "$work/build" -DCMAKE_BUILD_TYPE=Debug -DMIDUS_TESTS=OFF "-DMIDUS_VALUE_POLICIES=$header" >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
cmake --build "$work/build" --target upscale inspect >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mine=$work/build/examples

"$programs/random_checkpoint" "$repository/test/configs/bytes" "$work/base" >/dev/null
seq 1 400 >"$work/text.txt"
"$programs/prepare" --bytes "$work/text.txt" --out "$work/text.bin" >/dev/null
expect_refusal 'does not have the values "gated", but dense, factorized' \
    "$programs/upscale" "$work/base" "$work/never" --values gated --no-check
"$mine/upscale" "$work/base" "$work/gated" --values gated --value-rank 7 --num-keys 9 --top-k 5 | tee "$work/upscale.log"
grep -Eq "^checked: all [0-9,]+ logits equal the base's$" "$work/upscale.log" || fail "the logits were not checked"
grep -q "^  programs=\$(MIDUS_VALUE_POLICIES='*$header'* bash " "$work/upscale.log" || fail "how to build the programs is not said"
"$mine/inspect" "$work/gated" >"$work/inspect.log"
grep -q "values gated" "$work/inspect.log" || fail "inspect does not name the policy"
unknown='"midus.values" must be one of the value policies that this program has (dense, factorized)'
expect_refusal "$unknown" "$programs/inspect" "$work/gated"
expect_refusal "$unknown" "$programs/detach" "$work/gated" "$work/never"
expect_refusal '"midus.values"' bash "$repository/examples/build_for.sh" "$work/gated"

built=$(bash "$repository/examples/build_for.sh" "$work/gated" --value-policy "$header" | tail -n 1)
train() {  # train RUN OPTION...
    local run=$1
    shift
    "$built/cpt" "$work/gated" --train inserted --learning-rate 1e-2 --data "$work/text.bin" --batch 2 --length 16 \
        --out "$work/$run" --checkpoint-every 2 "$@" >/dev/null
}
train whole --steps 6
cp -r "$work/whole" "$work/again"
rm -rf "$work"/again/final "$work"/again/step-00000006
train again --steps 6 --resume
cmp "$work/whole/final/model.safetensors" "$work/again/final/model.safetensors" || fail "a resumed run has other bits"
"$built/evaluate" "$work/whole/final" --data text="$work/text.bin" >/dev/null
"$built/sample" "$work/whole/final" --prompt 12 --max-tokens 4 >/dev/null
"$built/head_ablation" "$work/whole/final" --data "$work/text.bin" >/dev/null
echo '[[1, 2, 3, 250, 7]]' >"$work/ids.json"
"$built/logits" "$work/whole/final" --ids "$work/ids.json" --out "$work/logits.safetensors" >/dev/null
if [ -n "$python" ] && "$python" -c 'import transformers' 2>/dev/null; then
    HF_MODULES_CACHE="$work/modules" "$python" - "$work" <<'PYTHON'
import json, sys
import torch
from pathlib import Path
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

work = Path(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(work / "whole/final", trust_remote_code=True, torch_dtype=torch.float32)
found = model(torch.tensor([[1, 2, 3, 250, 7]])).logits
expected = load_file(work / "logits.safetensors")["logits"].view_as(found)
assert (found - expected).abs().max() < 1e-4 * expected.abs().max(), (found - expected).abs().max()

# A policy that the code does not have is refused by its name.
config = json.loads((work / "whole/final/config.json").read_text())
config["midus"]["values"] = "nobodys"
(work / "whole/final/config.json").write_text(json.dumps(config))
try:
    AutoModelForCausalLM.from_pretrained(work / "whole/final", trust_remote_code=True)
except ValueError as error:
    assert "nobodys" in str(error), error
else:
    sys.exit("another policy's model was opened")
PYTHON
fi
echo "own_value_policy_test.sh: all as it should be"
