"""A training run that the tests of faults disturb: everything trains, and every step writes a checkpoint."""

import json
import subprocess
from pathlib import Path

MEASURED = ("tokens_per_s", "peak_share", "peak_bytes", "time")  # what may differ between equal runs


def command(programs, model, data, out, steps):
    return [str(each) for each in (
        Path(programs) / "cpt", model, "--train", "everything", "--data", data, "--eval", f"old={data}", "--out", out,
        "--steps", steps, "--batch", 1, "--length", 16, "--warmup", 1, "--evaluate-every", steps, "--checkpoint-every", 1,
        "--keep-last", 2, "--threads", 2, "--resume")]


def train(*arguments, prefix=()):
    return subprocess.run([*prefix, *command(*arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def records(out):
    """The log without what is measured."""
    with open(Path(out) / "log.jsonl", encoding="utf-8") as log:
        lines = [json.loads(line) for line in log]
    return [{key: value for key, value in line.items() if key not in MEASURED} for line in lines]


def checkpoints(out):
    """The complete ones, oldest first."""
    return sorted(path for path in Path(out).glob("step-*") if path.suffix != ".tmp" and (path / "trainer.json").exists())


def files(directory):
    """The bytes that a model or a checkpoint consists of."""
    return {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.name != "trainer.json"}
