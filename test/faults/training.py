"""A training run that the tests of faults disturb: everything trains, and every step writes a checkpoint."""

import fcntl
import json
import os
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


def records(out, name="log"):
    """A log without what is measured."""
    with open(Path(out) / f"{name}.jsonl", encoding="utf-8") as log:
        lines = [json.loads(line) for line in log]
    return [{key: value for key, value in line.items() if key not in MEASURED} for line in lines]


def checkpoints(out):
    """The complete ones, oldest first."""
    return sorted(path for path in Path(out).glob("step-*") if path.suffix != ".tmp" and (path / "trainer.json").exists())


def files(directory):
    """The bytes that a model or a checkpoint consists of."""
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()
            if path.name not in ("trainer.json", "README.md")}  # these name where the data and the base lie


def first_tokens(path, out, count):
    """A token file (docs/checkpoint.md) of another's first tokens, of 2 bytes each."""
    content = Path(path).read_bytes()
    Path(out).write_bytes(content[:16] + count.to_bytes(8, "little") + content[24:128 + 2 * count])


def wait_until_unlocked(out):
    if Path(out).exists():
        descriptor = os.open(out, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.close(descriptor)


def as_process_1():
    """What to put before a command that is to be process 1 of a container, and dies with it; None where the system forbids that."""
    prefix = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        return prefix if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode == 0 else None
    except OSError:
        return None
