"""Kills a training run at random moments; whatever it leaves, the run goes on and ends as if nothing had happened.

    kill_test.py PROGRAMS MODEL TOKEN_FILE [--kills N] [--seed S] [--steps N] [--small] [--process-1]

--process-1: each time as process 1 of a container, where every run has the number of the one before. --small: of a model
whose checkpoints are written too fast for a kill to hit one.
"""

import argparse
import collections
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import training


def moment(out, before):
    """What the process was doing when it died, as its directory shows."""
    if any(Path(out).glob("step-*.tmp")):
        return "a checkpoint was being written"
    if training.checkpoints(out) == before:
        return "before a new checkpoint"
    return "between two checkpoints"


def check_last(programs, out, ids):
    """The newest checkpoint is a model that computes."""
    newest = training.checkpoints(out)[-1:]
    if newest:
        done = subprocess.run([Path(programs) / "logits", newest[0], "--ids", ids, "--out", ids.with_suffix(".out")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{newest[0]} does not load: {done.stdout}")


def compare(whole, cut):
    """Bit for bit, but for what is measured."""
    if training.records(whole) != training.records(cut):
        sys.exit("the logs differ")
    pairs = [(Path(whole) / "final", Path(cut) / "final"), (training.checkpoints(whole)[-1], training.checkpoints(cut)[-1])]
    for ours, theirs in pairs:
        if training.files(ours) != training.files(theirs):
            sys.exit(f"{ours} and {theirs} differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--process-1", action="store_true")
    arguments = parser.parse_args()
    steps = arguments.steps
    prefix = training.as_process_1() if arguments.process_1 else []
    if prefix is None:
        print("skipped: this system gives no process numbers of their own (unshare --pid)")
        return
    run = (arguments.programs, arguments.model, arguments.data)
    ids = Path("kill_test.json")
    ids.write_text("[[1, 2, 3, 4]]")

    begin = time.monotonic()
    done = training.train(*run, "whole", steps)
    longest = time.monotonic() - begin
    if done.returncode:
        sys.exit(done.stdout)
    size = sum(map(len, training.files(training.checkpoints("whole")[-1]).values()))
    if size < 5_000_000 and not arguments.small:
        sys.exit(f"a checkpoint has {size:,} bytes only")

    generator = random.Random(arguments.seed)
    as_one = " as process 1" if prefix else ""
    kills, runs, moments = 0, 0, collections.Counter()
    while kills < arguments.kills:
        out = Path(f"cut-{runs}")
        runs += 1
        while kills < arguments.kills:
            before = training.checkpoints(out) if out.exists() else []
            process = subprocess.Popen([*prefix, *training.command(*run, out, steps)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(generator.uniform(0, longest))
                break  # it came to its end
            except subprocess.TimeoutExpired:
                process.kill()
            if process.wait() != -signal.SIGKILL:
                sys.exit(f"the run ended by itself with status {process.returncode}")
            training.wait_until_unlocked(out)  # a child of what was killed dies a moment later
            kills += 1
            moments[moment(out, before)] += 1
            check_last(arguments.programs, out, ids)
        done = training.train(*run, out, steps, prefix=prefix)
        if done.returncode:
            sys.exit(done.stdout)
        compare("whole", out)
        if any(out.glob("*.tmp")):
            sys.exit(f"{out} keeps what was not completed: {sorted(out.glob('*.tmp'))}")
        shutil.rmtree(out)
    print(f"killed {kills} times{as_one} over {runs} runs of {steps} steps (checkpoints of {size:,} bytes, seed {arguments.seed}); "
          "every continuation ended with the undisturbed run's bits")
    for what, count in moments.most_common():
        print(f"{count:6}  {what}")
    if not moments["a checkpoint was being written"] and arguments.kills >= 100 and not arguments.small:
        sys.exit("no kill fell into the writing of a checkpoint")


if __name__ == "__main__":
    main()
