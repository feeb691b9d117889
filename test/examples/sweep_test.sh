#!/usr/bin/env bash
# A sweep of two variants of a small model as a user has it, and the analyses of what it trained.
#
#   sweep_test.sh PROGRAMS TOOLS
#
# PROGRAMS is the folder of the programs for test/configs/odd, TOOLS that of prepare, upscale and detach.
set -euo pipefail
programs=$1 tools=$2
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export MIDUS_TOOLS=$tools

fail() {
    echo "sweep_test.sh: $*" >&2
    exit 1
}
refused() {  # refused PART COMMAND...: the command fails, and its error says PART
    local part=$1
    shift
    if "$@" >out.log 2>error.log; then fail "not refused: $*"; fi
    grep -qF -- "$part" error.log || fail "expected \"$part\", found: $(cat error.log)"
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# A base: a model with Memory blocks, without them.
"$tools/prepare" --bytes "$repository/README.md" --split 80,20 --out text.bin
"$programs/pretrain" "$repository/test/configs/odd" --data text.train.bin --out pretrained --steps 5 --batch 2 --length 16
"$tools/detach" pretrained/final base

sweep() {
    bash "$repository/examples/sweep.sh" base --data text.train.bin --eval new=text.validation.bin \
        --eval seen=text.train.bin --out sweep --num-keys 5 4 --top-k 3 --value-rank 7 --positions 0,2 --batch 2 \
        --length 16 "$@"
}
refused "there is no token file none.bin" sweep --steps 3 --data none.bin
refused "k must not exceed n, found n4-k5" sweep --steps 3 --top-k 5
refused "--positions must be ascending layers of the base, from 0 to 2, found 0,3" sweep --steps 3 --positions 0,3
refused "expected NAME=FILE" sweep --steps 3 --eval text.train.bin
refused "of letters, digits" sweep --steps 3 --eval 'a"`b=text.train.bin'
refused "--steps must be at least 1" sweep --steps 0
refused "found one with Memory blocks" bash "$repository/examples/sweep.sh" pretrained/final --data text.train.bin \
    --eval a=text.train.bin --out other
refused "sweep.sh: cannot read nowhere/config.json: No such file or directory; BASE is" bash \
    "$repository/examples/sweep.sh" nowhere --data text.train.bin --eval a=text.train.bin --out other
mkdir partial && echo '{"vocab_size": 256}' >partial/config.json
refused "found no num_hidden_layers" bash "$repository/examples/sweep.sh" partial --data text.train.bin \
    --eval a=text.train.bin --out other
[ ! -e sweep ] || fail "what was refused left a folder"

sweep --steps 3 | tee sweep.log
grep -q "2 variants, 0 of them done; the centre is n5-k3-r7-at0.2" sweep.log || fail "not two variants"
for file in results.md num_keys.png num_keys.svg num_keys.tsv; do [ -s "sweep/$file" ] || fail "no $file"; done
[ ! -e sweep/top_k.png ] || fail "a picture of one value"
cp sweep/results.jsonl first.jsonl

# Done is done; other settings are not mixed in; what is missing is made again.
sweep --steps 3 >again.log
grep -q "2 variants, 2 of them done" again.log || fail "done variants are not known"
if grep -q '^\$ .*cpt' again.log; then fail "a done variant was trained again"; fi
cmp first.jsonl sweep/results.jsonl
refused "made with other settings" sweep --steps 4
rm -r sweep/runs/n4-k3-r7-at0.2
sweep --steps 3 >resumed.log
grep -q "2 variants, 1 of them done" resumed.log || fail "the missing variant is not known"

# The numbers are those of `evaluate`; before the first step they are the base's, so equal.
for variant in n5-k3-r7-at0.2 n4-k3-r7-at0.2; do
    of_variant=$(bash "$repository/examples/build_for.sh" "sweep/models/$variant" | tail -n 1)
    "$of_variant/evaluate" "sweep/runs/$variant/final" --data new=text.validation.bin --data seen=text.train.bin \
        --length 16 --json "$variant.json" >/dev/null
done
python3 - <<'PYTHON'
import json, math
first, again = ([json.loads(line) for line in open(name)] for name in ("first.jsonl", "sweep/results.jsonl"))
assert [result["num_keys"] for result in first] == [5, 4] and [result["centre"] for result in first] == [True, False]
for one, other in zip(first, again, strict=True):
    assert one["loss"] == other["loss"], (one, other)  # training has the same bits
    for row in json.load(open(f"{one['variant']}.json"))["results"]:
        assert math.isclose(row["loss"], one["loss"][row["name"]], rel_tol=1e-6), (row, one)
assert first[0]["before"] == first[1]["before"] and first[0]["loss"] != first[1]["loss"]
assert first[0]["trained"] - first[1]["trained"] == 2 * ((25 - 16) * 7 + 6 * 2 * (5 - 4) * 3), first
PYTHON

# The other analyses, and their pictures.
"$of_variant/slot_use" sweep/runs/n4-k3-r7-at0.2/final --data text.validation.bin --length 16 --json slot_use.json
"$of_variant/head_ablation" sweep/runs/n4-k3-r7-at0.2/final --data text.validation.bin --length 16 --json head_ablation.json
python3 -B "$repository/examples/analyses/draw.py" slot_use.json head_ablation.json --out pictures
for name in slot_use read_ratio head_ablation; do
    for kind in png svg; do [ -s "pictures/$name.$kind" ] || fail "no picture $name.$kind"; done
done
refused "expected what slot_use or head_ablation write" python3 -B "$repository/examples/analyses/draw.py" first.jsonl
echo "sweep_test.sh: all as expected"
