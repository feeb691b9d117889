"""Training steps of midus and of PyTorch side by side, on the same weights and tokens.

    python=$(sh test/torch/install.sh | tail -n 1)
    $python bench/compare_torch/compare_torch.py [small] [medium] [large] [--threads N] [--rounds R] [--compile]

midus' step is that of its program `cpt`, with everything trained; PyTorch's is torch_llama.py. First the losses of
20 steps must agree to 1e-4; then both are timed in turn, and the medians of the rounds are compared. A share of
the peak counts 6 flops a weight and token, and the causal half of attention; the peak is the one that `cpt` measured.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SETTINGS = {"weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "clip": 1.0}
# Windows of a batch, their tokens, the steps of a timed round, and the rate: large's loss rises at 1e-3, and rounding
# with it, to 1e-4 within five steps and 0.3 within twenty.
SIZES = {"small": (16, 128, 40, 1e-3), "medium": (16, 256, 8, 1e-3), "large": (4, 256, 2, 1e-4)}


def write_tokens(path, ids, vocabulary):
    """A token file (docs/checkpoint.md) that holds one batch, so every step has the same tokens."""
    width = 2 if vocabulary <= 65536 else 4
    header = struct.pack("<8sIIQQI32s", b"MIDUSTOK", 1, width, len(ids), vocabulary, 0, bytes(32))
    path.write_bytes(header.ljust(128, b"\0") + b"".join(id.to_bytes(width, "little") for id in ids))


def run_midus(programs, model, tokens, batch, length, rate, steps, threads, out):
    """The step log of `cpt`."""
    options = [f"--{name.replace('_', '-')}={value:g}" for name, value in SETTINGS.items()]
    command = [programs / "cpt", model, "--train", "everything", "--data", tokens, "--out", out, "--steps", steps, "--batch",
               batch, "--length", length, "--learning-rate", rate, "--decay-steps", 0, "--threads", threads, "--force", *options]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def torch_rounds(arguments):
    """The child process: reads lines of `steps` from standard input, and answers with losses and seconds."""
    import torch
    from torch_llama import TorchLlama
    torch.set_num_threads(arguments.threads)
    model, batch, length, rate = Path(arguments.child[0]), *map(int, arguments.child[1:3]), float(arguments.child[3])
    ids = torch.tensor(json.loads(Path(arguments.child[4]).read_text()))
    inputs, targets = ids[:-1].view(batch, length), ids[1:].view(batch, length)
    llama = TorchLlama(model, length, SETTINGS["weight_decay"], (SETTINGS["beta1"], SETTINGS["beta2"]), SETTINGS["epsilon"],
                       SETTINGS["clip"], arguments.compile)
    for line in sys.stdin:
        losses, seconds = [], []
        for _ in range(int(line)):
            begin = time.perf_counter()
            losses.append(llama.step(inputs, targets, rate))
            seconds.append(time.perf_counter() - begin)
        anonymous = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
        print(json.dumps({"losses": losses, "seconds": seconds, "rss_anon": int(anonymous[0].split()[1]) * 1024}),
              flush=True)


class Torch:
    """PyTorch in a process of its own, which waits while midus is timed."""

    def __init__(self, model, batch, length, rate, ids, threads, compiled):
        command = [sys.executable, HERE / "compare_torch.py", "--threads", threads, "--child", model, batch, length, rate, ids]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(list(map(str, command + ["--compile"] * compiled)), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)

    def steps(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, arguments, folder):
    """One row of the table."""
    batch, length, steps, rate = SIZES[name]
    config = json.loads((HERE / "models" / name / "config.json").read_text())
    draw = random.Random(1)
    ids = [draw.randrange(config["vocab_size"]) for _ in range(batch * length + 1)]
    tokens, model, listed = folder / f"{name}.bin", folder / name, folder / f"{name}.json"
    write_tokens(tokens, ids, config["vocab_size"])
    listed.write_text(json.dumps(ids))
    programs = Path(subprocess.run(["bash", str(ROOT / "examples/build_for.sh"), str(HERE / "models" / name)], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    # A model as `pretrain` initialises it: its checkpoint after one step at next to no rate.
    subprocess.run([programs / "pretrain", HERE / "models" / name, "--data", tokens, "--out", folder / f"{name}-run",
                    "--steps", "1", "--batch", "1", "--length", str(length), "--learning-rate", "1e-30"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.move(folder / f"{name}-run" / "final", model)

    ours = run_midus(programs, model, tokens, batch, length, rate, 20, arguments.threads, folder / "run")
    rivals = {"eager": Torch(model, batch, length, rate, listed, arguments.threads, False)}
    if arguments.compile:
        rivals["compiled"] = Torch(model, batch, length, rate, listed, arguments.threads, True)
    for kind, rival in rivals.items():
        theirs = rival.steps(20)["losses"]
        worst = max(abs(mine["loss"] - other) for mine, other in zip(ours, theirs))
        print(f"{name}: losses of 20 steps differ from PyTorch's ({kind}) by at most {worst:.1e}", flush=True)
        if not worst < 1e-4:
            sys.exit("they must agree to 1e-4 before anything is timed")

    speeds, shares = {"midus": []} | {kind: [] for kind in rivals}, []
    for _ in range(arguments.rounds):
        log = run_midus(programs, model, tokens, batch, length, rate, steps + 2, arguments.threads, folder / "run")[2:]
        speeds["midus"].append(statistics.median(record["tokens_per_s"] for record in log))
        shares.append(statistics.median(record["peak_share"] for record in log))
        for kind, rival in rivals.items():
            speeds[kind].append(batch * length / statistics.median(rival.steps(steps)["seconds"]))
    memory = {kind: rival.steps(1)["rss_anon"] for kind, rival in rivals.items()}
    for rival in rivals.values():
        rival.close()
    best = max(rivals, key=lambda kind: statistics.median(speeds[kind]))
    ratios = [mine / theirs for mine, theirs in zip(speeds["midus"], speeds[best])]
    return {"model": name, "midus_tokens_per_s": statistics.median(speeds["midus"]),
            "torch_tokens_per_s": statistics.median(speeds[best]), "torch": best, "ratio": statistics.median(ratios),
            "ratios": ratios, "peak_share": statistics.median(shares), "midus_peak_bytes": log[-1]["peak_bytes"],
            "torch_anonymous_bytes": memory[best]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=", ".join(SIZES) + " (default: small and medium)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="each times midus, then PyTorch (default %(default)s)")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, and compare with the better")
    parser.add_argument("--json", help="write the numbers to this file")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        torch_rounds(arguments)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models or ["small", "medium"]:
            if name not in SIZES:
                parser.error(f"there is no model {name}; there are {', '.join(SIZES)}")
            rows.append(compare(name, arguments, Path(folder)))
    print(f"\n{'model':8} {'midus tok/s':>12} {'PyTorch tok/s':>14} {'':8} {'ratio (spread)':>20} {'of peak':>8} "
          f"{'midus MB':>9} {'PyTorch MB':>10}")
    for row in rows:
        print(f"{row['model']:8} {row['midus_tokens_per_s']:12.0f} {row['torch_tokens_per_s']:14.0f} {row['torch']:8} "
              f"{row['ratio']:6.2f} ({min(row['ratios']):.2f} ... {max(row['ratios']):.2f}) {100 * row['peak_share']:7.1f}% {row['midus_peak_bytes'] / 1e6:9.0f} "
              f"{row['torch_anonymous_bytes'] / 1e6:10.0f}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
