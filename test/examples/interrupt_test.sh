#!/usr/bin/env bash
# Ctrl-C in a training run, and again in its continuation; in the end it is the run that nobody disturbed.
#
#   interrupt_test.sh PROGRAMS PREPARE
#
# PROGRAMS is the folder with pretrain and cpt for test/configs/odd, PREPARE the program that makes token files.
set -euo pipefail
programs=$1 prepare=$2

fail() {
    echo "interrupt_test.sh: $*" >&2
    cat ./*.err >&2
    exit 1
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$(mktemp -d)
running=''
trap '[ -z "$running" ] || kill -KILL "$running" 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
for i in $(seq 300); do echo "verse $((i * i)) of a text that repeats itself"; done >text
"$prepare" --bytes text --out "the text.bin" >/dev/null
"$programs/pretrain" "$repository/test/configs/odd" --data "the text.bin" --steps 1 --out start 2>pretrain.err ||
    fail "no model to start with"

options=(--train '*.memory_blocks.*' '*.layers.1.mlp.*' --data "the text.bin" --eval "old=the text.bin" --steps 150
    --batch 4 --length 32 --accumulate 2 --warmup 9 --evaluate-every 40 --checkpoint-every 70 --threads 2)

# interrupt RUN COMMAND...: sends SIGINT after 20 more steps of the run; its exit status. (What starts in the
# background of a script ignores SIGINT, and cpt leaves it so.)
interrupt() {
    local log=$1/log.jsonl enough status=0
    enough=$(($(steps "$1") + 20))
    shift
    env --default-signal=INT "$@" 2>cpt.err &
    running=$!
    while [ "$(steps "$(dirname "$log")")" -lt "$enough" ]; do
        kill -0 "$running" 2>/dev/null || fail "the run ended before step $enough"
        sleep 0.02
    done
    kill -INT "$running"
    wait "$running" || status=$?
    running=''
    return "$status"
}
steps() { if [ -f "$1/log.jsonl" ]; then wc -l <"$1/log.jsonl"; else echo 0; fi; }
go_on() { sed -n "s/^stopped after step $(steps cut); go on with: //p" cpt.err; }

# was_stopped STATUS: what a run leaves that SIGINT has stopped.
was_stopped() {
    [ "$1" -eq 130 ] || fail "the exit status should be 130, found $1"
    [ "$(steps cut)" -lt 150 ] || fail "the run was over before the signal came"
    [ -f "$(printf 'cut/step-%08d/trainer.json' "$(steps cut)")" ] || fail "no checkpoint of step $(steps cut)"
    [ ! -e cut/final ] || fail "a run that was stopped has no final model"
    [ -n "$(go_on)" ] || fail "nothing says how to go on"
}

"$programs/cpt" start/final "${options[@]}" --out whole 2>whole.err || fail "the run failed"

status=0
interrupt cut "$programs/cpt" start/final "${options[@]}" --out cut || status=$?
was_stopped "$status"
first=$(steps cut) command=$(go_on)

status=0
interrupt cut sh -c "exec $command" || status=$?
was_stopped "$status"
[ "$(steps cut)" -gt "$first" ] || fail "the continuation did not go on"
grep -q "^resumed at step $first from " cpt.err || fail "the continuation did not begin at step $first"
[ "$(go_on)" = "$command" ] || fail "the second continuation is another one"

sh -c "$command" 2>cpt.err || fail "the last continuation failed"
for run in whole cut; do  # without what is measured
    sed -E 's/,?"(tokens_per_s|peak_share|peak_bytes|time)":[^,}]*//g' "$run/log.jsonl" >"$run.log"
done
[ "$(wc -l <whole.log)" -eq 150 ] || fail "the log should have 150 lines"
cmp whole.log cut.log || fail "the logs differ"
cmp whole/evaluations.jsonl cut/evaluations.jsonl || fail "the evaluations differ"
for file in config.json model.safetensors; do
    cmp "whole/final/$file" "cut/final/$file" || fail "the models differ"
done
if cmp -s start/final/model.safetensors cut/final/model.safetensors; then fail "nothing was trained"; fi
