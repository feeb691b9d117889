#!/usr/bin/env bash
# Runs every command of docs/walk_through.md, in its order, on a small random checkpoint.
#
#   walk_through_test.sh TOOLS [PYTHON]     the folder of upscale, prepare, ...; a python with transformers (else that part is left out)
set -euo pipefail
MIDUS=$(cd "$(dirname "$0")/../.." && pwd)
PATH="$(cd "$1" && pwd):$PATH"
export MIDUS PATH
python=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

sed 's/"vocab_size": *[0-9]*/"vocab_size": 512/' "$MIDUS/test/configs/six_heads_tied/config.json" > config.json
cat "$MIDUS"/docs/*.md "$MIDUS"/README.md > old.txt
cat "$MIDUS"/include/midus/ops/*.hpp > new.txt
printf '{"text": "A layer says the mathematics."}\n{"text": "An op says one step of it."}\n' > documents.jsonl
printf '{"context": "A layer never names", "choices": ["Eigen", "an op"], "answer": 0}\n' > questions.jsonl

# The page's commands: blocks of sh, one after the other in one shell, and the block of python.
awk '/^```/ {inside = ($0 == "```sh"); next} inside' "$MIDUS/docs/walk_through.md" > commands.sh
awk '/^```/ {inside = ($0 == "```python"); next} inside' "$MIDUS/docs/walk_through.md" > open.py
[ "$(grep -c . commands.sh)" -ge 15 ] || { echo "walk_through_test.sh: the page has hardly any commands" >&2; exit 1; }
bash -euo pipefail -x commands.sh
if [ -n "$python" ] && "$python" -c 'import transformers' 2> /dev/null; then
  "$python" open.py > opened
  grep -q "In the beginning" opened
fi
