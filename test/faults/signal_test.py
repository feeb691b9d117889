"""Stops a training run by every signal that asks for it; each time there is a checkpoint, and the end is as if nothing had happened.

    signal_test.py PROGRAMS MODEL TOKEN_FILE [--each N]

N times each, with the output in a pipe: SIGINT, SIGTERM, SIGHUP and SIGUSR1 to the run and to the reader of its output
(`2>&1 | tee log`), in turn during the evaluation before the first step, during one behind a step, and between steps; and a reader
that goes away, as `| head` does.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import training

STEPS, EVERY = 12, 4
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
PLACES = (0, EVERY, EVERY + 2)  # steps; the run evaluates before the first, and behind every EVERYth


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def default_signals():
    for each in (*SIGNALS, signal.SIGPIPE):
        signal.signal(each, signal.SIG_DFL)


def start(command, reader):
    """The run and the reader of all that it prints."""
    reading = subprocess.Popen(reader, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=default_signals)
    run = subprocess.Popen(command, stdout=reading.stdin, stderr=reading.stdin, preexec_fn=default_signals)
    reading.stdin.close()
    return run, reading


def stop(command, out, sent, step):
    """Sends the signal once the run is on and so many steps are done, to the reader first; the run's status."""
    said, log = Path(f"{out}.log"), out / "log.jsonl"
    goes_on = bool(training.checkpoints(out))
    said.unlink(missing_ok=True)
    run, reading = start(command, ["tee", said])
    while run.poll() is None:
        if log.exists() and lines(log) >= step and (not goes_on or b"resumed at" in (said.read_bytes() if said.exists() else b"")):
            break
        time.sleep(0.001)
    begin = time.monotonic()
    reading.send_signal(sent)
    run.send_signal(sent)
    reading.stdout.read()
    status = run.wait(60)
    reading.wait()
    if time.monotonic() - begin > 20:
        sys.exit(f"{out}: {time.monotonic() - begin:.1f} s from the signal to the end")
    return status


def check(out, status, sent):
    """Whether the run was stopped; then there must be a checkpoint of its last step."""
    if status == 0:
        return False
    said = Path(f"{out}.log").read_text() if Path(f"{out}.log").exists() else ""
    if status != 128 + sent:
        sys.exit(f"{out}: expected status {128 + sent}, found {status}: {said}")
    steps = lines(out / "log.jsonl")
    if not (out / f"step-{steps:08}" / "trainer.json").exists():
        sys.exit(f"{out}: {steps} steps are done, and there is no checkpoint of the last: {sorted(out.iterdir())}: {said}")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--each", type=int, default=10)
    arguments = parser.parse_args()
    evaluation = Path("evaluation.bin")  # some tenths of a second
    training.first_tokens(arguments.data, evaluation, 6000)
    training.first_tokens(arguments.data, "short.bin", 500)

    def command(out):  # no checkpoint is due before the end
        return [str(each) for each in (
            Path(arguments.programs) / "cpt", arguments.model, "--train", "everything", "--data", arguments.data, "--eval",
            f"old={evaluation}", "new=short.bin", "--out", out, "--steps", STEPS, "--batch", 1, "--length", 16, "--warmup", 1,
            "--evaluate-every", EVERY, "--threads", 1, "--resume")]

    def finish(out):
        done = subprocess.run(command(out), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(done.stdout)

    finish("signal-whole")
    stopped = dict.fromkeys((*SIGNALS, signal.SIGPIPE), 0)
    for count in range(arguments.each):
        out = Path("signal-cut")
        for sent, step in zip(SIGNALS, (PLACES[count % 3],) * len(SIGNALS)):
            stopped[sent] += check(out, stop(command(out), out, sent, step), sent)
        run, reading = start(command(out), ["sed", "/^step/q"])
        reading.stdout.read()
        reading.wait()
        stopped[signal.SIGPIPE] += check(out, run.wait(60), signal.SIGPIPE)
        finish(out)
        for name in ("log", "evaluations"):
            if training.records("signal-whole", name) != training.records(out, name):
                sys.exit(f"{out}: {name}.jsonl is another one")
        if training.files("signal-whole/final") != training.files(out / "final"):
            sys.exit(f"{out}: the model is another one")
        shutil.rmtree(out)
    told = ", ".join(f"{each.name} {count}" for each, count in stopped.items())
    print(f"stopped with the output in a pipe ({told} times); each time there was a checkpoint, and the runs ended with the undisturbed "
          "one's bits")
    if min(stopped.values()) < arguments.each / 2:
        sys.exit("hardly a signal came in time")


if __name__ == "__main__":
    main()
