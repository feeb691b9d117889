"""Compares midus with the reference: logits, loss and every gradient of one checkpoint.

    compare.py PROGRAM CHECKPOINT [--double]

PROGRAM is called as

    PROGRAM CHECKPOINT --ids FILE --out FILE [--targets FILE] [--gradients FILE] [--double]

where the ids and targets are JSON lists [B,T] (target -100: does not count) and the outputs are
safetensors files: `logits` [B,T,V] and, with targets, `loss` [1]; the gradients of the mean loss
under the parameters' checkpoint names. All numbers are F32, or F64 with --double.

The measure of a tensor is max |difference| / max |reference|, the reference computed in float64
from the weights that the program computes with (rounded to F32 unless --double). The bounds:

- logits and loss, F32: 1e-5. A unit of rounding is 6e-8; the reference run in float32 differs from
  itself in float64 by up to 2.7e-6 over 113 random models of 2 layers, and another order of
  summation may be worth a factor of 3.
- gradients, F32: 5e-5. A gradient is a sum over tokens whose terms cancel, those of query and key
  projections most: the reference in float32 differs by up to 1.2e-5 on the same models.
- --double: 1e-10 for all. A unit is 1.1e-16: rounding, in proportion, stays below 1e-13, so that
  whatever is above 1e-10 was computed in float32 somewhere, or is wrong.

The table also shows how far the reference in float32 is from itself in float64 on this very input.

Rounding may turn a choice of slots that is nearly a tie, and the output jumps then. Ids are
therefore drawn anew (up to 100 times) until the smallest gap between the last slot chosen and the
first one not chosen is larger than the logits' bound times the largest score.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from checkpoint import Model, load_model
from reference import IGNORED, Result, Retrieval, forward, loss_and_gradients, read_ids
from safetensors_file import read_safetensors

LOGITS_BOUND = {torch.float32: 1e-5, torch.float64: 1e-10}
GRADIENTS_BOUND = {torch.float32: 5e-5, torch.float64: 1e-10}
ATTEMPTS = 100


@dataclass
class Case:
    """One input: what is asked of it, ids and targets [B,T]."""

    title: str
    ids: torch.Tensor
    targets: torch.Tensor


class Report:
    """Prints the table and keeps what failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def check(self, condition: bool, message: str) -> None:
        """Notes and prints what does not hold."""
        if not condition:
            self.failures.append(message)
            print(f"  FAILED: {message}")

    def row(
        self,
        name: str,
        ours: torch.Tensor,
        reference: torch.Tensor,
        in_float32: torch.Tensor,
        bound: float,
    ) -> None:
        """One line of the table."""
        found = relative_difference(ours, reference)
        rounding = relative_difference(in_float32, reference)
        print(f"  {name:<62} {found:9.2e}  {bound:7.0e}  {rounding:9.2e}")
        self.check(found <= bound, f"{name} differs by {found:.2e}, bound {bound:.0e}")


def relative_difference(ours: torch.Tensor, reference: torch.Tensor) -> float:
    """max |ours - reference| / max |reference|; a reference of zeros is to be met exactly."""
    if ours.shape != reference.shape or not ours.isfinite().all():
        return float("inf")
    largest = reference.abs().max().item()
    difference = (ours.to(torch.float64) - reference).abs().max().item()
    if largest == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / largest


def is_clear(model: Model, ids: torch.Tensor, margin: float) -> bool:
    """Whether every choice of slots is by more than `margin` times the largest score."""
    watch = Retrieval()
    with torch.no_grad():
        forward(model, ids, watch)
    return watch.smallest_gap > margin * watch.largest_score


def draw_ids(model: Model, shape: tuple[int, int], seed: int, margin: float) -> torch.Tensor:
    """Random ids [B,T] without a near tie."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(ATTEMPTS):
        ids = torch.randint(model.config.vocab_size, shape, generator=generator)
        if is_clear(model, ids, margin):
            return ids
    raise ValueError(f"{ATTEMPTS} draws of {shape} ids had a near tie each: take fewer or shorter")


def make_cases(model: Model, options: argparse.Namespace, dtype: torch.dtype) -> list[Case]:
    """Ids and targets given, or random ones: with all, and with some targets counted."""
    if options.ids:
        ids = read_ids(options.ids)
        if not is_clear(model, ids, LOGITS_BOUND[dtype]):
            raise ValueError(f"{options.ids}: a choice of slots is nearly a tie")
    else:
        ids = draw_ids(model, (options.batch, options.length), options.seed, LOGITS_BOUND[dtype])
    if options.targets:
        return [Case(f"targets of {options.targets}", ids, read_ids(options.targets))]
    generator = torch.Generator().manual_seed(options.seed + 1)
    targets = torch.randint(model.config.vocab_size, ids.shape, generator=generator)
    some = targets.clone()
    some[torch.rand(ids.shape, generator=generator) < 0.4] = IGNORED
    some[0, 0], some[-1, -1] = IGNORED, targets[-1, -1]  # at least one of either kind
    return [Case("every target counts", ids, targets), Case("some targets ignored", ids, some)]


def run_program(
    options: argparse.Namespace, case: Case, folder: Path, with_gradients: bool
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Runs PROGRAM: what it wrote to --out and to --gradients."""
    (folder / "ids.json").write_text(json.dumps(case.ids.tolist()))
    (folder / "targets.json").write_text(json.dumps(case.targets.tolist()))
    out, gradients = folder / "out.safetensors", folder / "gradients.safetensors"
    out.unlink(missing_ok=True)
    gradients.unlink(missing_ok=True)
    command = [options.program, options.checkpoint, "--ids", folder / "ids.json"]
    command += ["--out", out]
    if with_gradients:
        command += ["--targets", folder / "targets.json", "--gradients", gradients]
    if options.double:
        command += ["--double"]
    subprocess.run([str(part) for part in command], check=True, timeout=options.timeout)
    return read_safetensors(out), read_safetensors(gradients) if with_gradients else {}


def compare_case(
    options: argparse.Namespace, model: Model, case: Case, dtype: torch.dtype, report: Report
) -> None:
    """Runs the program on a case and holds everything it wrote against the reference."""
    reference = loss_and_gradients(model, case.ids, case.targets)
    in_float32 = loss_and_gradients(model, case.ids, case.targets, torch.float32)
    counted = (case.targets != IGNORED).sum().item()
    print(f"{case.title}: ids {list(case.ids.shape)}, {counted} targets counted,", end=" ")
    print(f"loss {reference.loss.item():.6f}, smallest gap {reference.retrieval.smallest_gap:.2e}")
    print(f"  {'tensor':<62} {'found':>9}  {'bound':>7}  {'float32':>9}")

    with tempfile.TemporaryDirectory() as folder:
        out, gradients = run_program(options, case, Path(folder), with_gradients=True)
        alone, _ = run_program(options, case, Path(folder), with_gradients=False)
    for name, tensor in (out | alone | gradients).items():
        report.check(tensor.dtype == dtype, f"{name} is {tensor.dtype}, expected {dtype}")
    report.check(out.keys() == {"logits", "loss"}, f"--out holds {sorted(out)}")
    report.check(alone.keys() == {"logits"}, f"--out without --targets holds {sorted(alone)}")
    bound = LOGITS_BOUND[dtype]
    nothing = torch.empty(0)
    for title, found in (("logits", out), ("logits, no targets", alone)):
        logits = found.get("logits", nothing)
        report.row(title, logits, reference.logits, in_float32.logits, bound)
    loss = out.get("loss", nothing)
    report.row("loss", loss, reference.loss[None], in_float32.loss[None], bound)
    compare_gradients(options, gradients, reference, in_float32, dtype, report)


def compare_gradients(
    options: argparse.Namespace,
    gradients: dict[str, torch.Tensor],
    reference: Result,
    in_float32: Result,
    dtype: torch.dtype,
    report: Report,
) -> None:
    """Every parameter has a gradient, nothing else has, none is trivially zero, and all agree."""
    missing = sorted(reference.gradients.keys() - gradients.keys())
    extra = sorted(gradients.keys() - reference.gradients.keys())
    report.check(not missing, f"gradients are missing: {missing}")
    report.check(not extra, f"gradients of no parameter: {extra}")
    for name in sorted(reference.gradients.keys() & gradients.keys()):
        expected = reference.gradients[name]
        if not (options.allow_zero and re.search(options.allow_zero, name)):
            report.check(
                expected.abs().max().item() > 1e-9,
                f"{name}: the gradient is zero, so proves nothing",
            )
        report.row(
            name, gradients[name], expected, in_float32.gradients[name], GRADIENTS_BOUND[dtype]
        )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", type=Path, help="`logits`, built for this model")
    parser.add_argument(
        "checkpoint", type=Path, help="a checkpoint directory (random_checkpoint.py)"
    )
    parser.add_argument("--double", action="store_true", help="let the program compute in double")
    parser.add_argument("--ids", type=Path, help="JSON [B,T]; default: random ids")
    parser.add_argument(
        "--targets", type=Path, help="JSON [B,T]; default: random, twice (see above)"
    )
    parser.add_argument("--batch", type=int, default=2, help="B of random ids")
    parser.add_argument("--length", type=int, default=16, help="T of random ids")
    parser.add_argument("--seed", type=int, default=0, help="of random ids and targets")
    parser.add_argument(
        "--allow-zero",
        metavar="REGEX",
        help="parameters whose gradient may be all zero"
        " (all of a Memory block but its values, where those are zero)",
    )
    parser.add_argument(
        "--timeout", type=float, default=300, help="seconds for one call of the program"
    )
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    dtype = torch.float64 if options.double else torch.float32
    model = load_model(options.checkpoint)
    model.weights = {
        name: tensor.to(dtype).to(torch.float64) for name, tensor in model.weights.items()
    }
    report = Report()
    for case in make_cases(model, options, dtype):
        compare_case(options, model, case, dtype, report)
    for failure in report.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    print("failed" if report.failures else "passed")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
