"""The losses of AdamW steps on given batches: what the trainer of midus must reproduce.

    loss_curve.py CHECKPOINT --batches FILE [--log FILE] [--final DIR] [settings]
    loss_curve.py CHECKPOINT --tokens FILE --batch B --length T --steps N [settings]

--batches is a JSON list of {"ids": [B,T], "targets": [B,T]}, one for each step (target -100: does
not count); --tokens takes the windows of a token file in order. Without --log the program prints
the log: a JSON object a line with `step` (from 1), `loss` (before the step), `learning_rate` and
`grad_norm` (of everything trained, before clipping). With --log it compares the log of another
program with that, and with --final also the weights after the last step (a checkpoint directory);
--double says that the other program computed in double.

A step, all in float64:

1. loss and gradients of what is trained; nothing else is touched.
2. Clipping by the global norm of what is trained; with --values-clip `*.memory.values` are a group
   of their own with that maximum, and the rest keep theirs. Factor min(1, maximum / norm).
3. rate(s) = peak · s / W up to step W, the warm-up; then
   floor + (peak - floor) · (1 + cos(π (s - 1 - W) / (N - W))) / 2: step W + 1 still has the peak, and step
   N + 1 would have the floor.
   `*.memory.values` multiply it by --values-rate-scale.
4. AdamW, decay decoupled: p ← p (1 - rate · decay); then p ← p - rate · m̂ / (√v̂ + ε). There is no
   decay on tensors of one dimension (norms) and none on `*.memory.values`.
"""

import argparse
import json
import math
import struct
import sys
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from checkpoint import Config, Model, Weights, load_model
from reference import IGNORED, Retrieval, cross_entropy, forward

VALUES = "*.memory.values"
# The largest difference from the reference, relative (for weights: to the largest change that the
# run made to the tensor), of a run in float32 and in float64. The reference itself in float32, 20
# steps on 72 random models: losses 2e-6, norms 4e-5, weights 8e-3 (an element whose gradient is
# nothing but rounding still moves by a good part of the rate); once, where rounding changed a slot
# (the smallest gap tells), losses 1e-4 and norms 1e-3. In double all that is 5e8 times smaller.
BOUNDS = {
    torch.float32: {"loss": 1e-5, "learning_rate": 1e-6, "grad_norm": 2e-4, "weights": 4e-2},
    torch.float64: {"loss": 1e-10, "learning_rate": 1e-10, "grad_norm": 1e-9, "weights": 1e-8},
}


@dataclass(frozen=True)
class Settings:
    """The optimizer, its schedule and the clipping."""

    steps: int = 20  # N, the length of the schedule
    learning_rate: float = 1e-3  # the peak
    warmup_steps: int = 5  # W
    floor: float = 1e-4  # the rate that the cosine ends at
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    values_rate_scale: float = 1.0
    clip_norm: float = 1.0
    values_clip_norm: float | None = None  # None: the values are clipped with all the rest


@dataclass
class Batch:
    """One step's input, both [B,T]."""

    ids: torch.Tensor
    targets: torch.Tensor


@dataclass
class Step:
    """What the log says about a step."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float


@dataclass
class Curve:
    """The log of a run and the weights after it."""

    steps: list[Step]
    weights: Weights
    smallest_gap: float  # of all retrievals: rounding may change a slot where this is tiny


def trained_names(config: Config, weights: Weights, train: list[str]) -> list[str]:
    """What --train means: everything, inserted (the last expansion), inserted:all, or globs."""
    if train == ["everything"]:
        return list(weights)
    if train in (["inserted"], ["inserted:all"]):
        entries = config.history if train == ["inserted:all"] else config.history[-1:]
        prefixes = tuple(prefix for entry in entries for prefix in entry["inserted"])
        return [name for name in weights if name.startswith(prefixes)]
    return [name for name in weights if any(fnmatchcase(name, pattern) for pattern in train)]


def learning_rate(settings: Settings, step: int) -> float:
    """The rate of a step, counted from 1: linear warm-up, then a cosine towards the floor."""
    warmup = settings.warmup_steps
    if step <= warmup:
        return settings.learning_rate * step / warmup
    progress = (step - 1 - warmup) / (settings.steps - warmup)
    swing = settings.learning_rate - settings.floor
    return settings.floor + swing * (1 + math.cos(math.pi * progress)) / 2


def global_norm(gradients: Weights) -> float:
    """√ of the sum of all squares."""
    return math.sqrt(sum(gradient.pow(2).sum().item() for gradient in gradients.values()))


def clip(gradients: Weights, settings: Settings) -> Weights:
    """Scales each clipping group down to its largest norm."""
    values = {name for name in gradients if fnmatchcase(name, VALUES)}
    groups = [(set(gradients), settings.clip_norm)]
    if settings.values_clip_norm is not None:
        groups = [
            (set(gradients) - values, settings.clip_norm),
            (values, settings.values_clip_norm),
        ]
    clipped: Weights = {}
    for names, largest in groups:
        norm = global_norm({name: gradients[name] for name in names})
        factor = largest / norm if norm > largest else 1.0
        clipped.update({name: gradients[name] * factor for name in names})
    return clipped


class AdamW:
    """AdamW with decoupled decay, written out; moments exist for what is trained only."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.steps = 0
        self.mean: Weights = {}
        self.square: Weights = {}

    def step(self, weights: Weights, gradients: Weights, rate: float) -> None:
        """Updates `weights` for every gradient given, in place."""
        s = self.settings
        self.steps += 1
        for name, gradient in gradients.items():
            is_values = fnmatchcase(name, VALUES)
            own_rate = rate * s.values_rate_scale if is_values else rate
            decay = 0.0 if is_values or gradient.dim() == 1 else s.weight_decay
            zeros = torch.zeros_like(gradient)
            mean = s.beta1 * self.mean.get(name, zeros) + (1 - s.beta1) * gradient
            square = s.beta2 * self.square.get(name, zeros) + (1 - s.beta2) * gradient**2
            self.mean[name], self.square[name] = mean, square
            unbiased_mean = mean / (1 - s.beta1**self.steps)
            unbiased_square = square / (1 - s.beta2**self.steps)
            decayed = weights[name] * (1 - own_rate * decay)
            weights[name] = decayed - own_rate * unbiased_mean / (
                unbiased_square.sqrt() + s.epsilon
            )


def loss_curve(
    model: Model,
    batches: list[Batch],
    settings: Settings,
    trained: list[str],
    dtype: torch.dtype = torch.float64,
    rates: list[float] | None = None,
    ignore_index: int = IGNORED,
) -> Curve:
    """One AdamW step for each batch; `rates` replaces the schedule. The model is left alone."""
    weights = {name: tensor.detach().to(dtype) for name, tensor in model.weights.items()}
    optimizer, steps, watch = AdamW(settings), [], Retrieval()
    for s, batch in enumerate(batches, start=1):
        leaves = {name: weights[name].clone().requires_grad_() for name in trained}
        logits = forward(Model(model.config, weights | leaves), batch.ids, watch)
        loss = cross_entropy(logits, batch.targets, ignore_index)
        found = torch.autograd.grad(loss, list(leaves.values()))
        gradients = dict(zip(leaves, found, strict=True))
        rate = rates[s - 1] if rates else learning_rate(settings, s)
        steps.append(Step(s, loss.item(), rate, global_norm(gradients)))
        optimizer.step(weights, clip(gradients, settings), rate)
    return Curve(steps, weights, watch.smallest_gap)


# -------------------------------------------------------------------------------------------------
# Where the batches come from
# -------------------------------------------------------------------------------------------------


@dataclass
class TokenFile:
    """The tokens of a file, and which of them count as targets."""

    tokens: torch.Tensor  # [N] int64
    counted: torch.Tensor  # [N] bool
    vocabulary: int


def read_token_file(path: Path) -> TokenFile:
    """128 bytes of header, the tokens, and a byte of loss weight per token where flag 1 is set."""
    raw = Path(path).read_bytes()
    magic, version, width, count, vocabulary, flags = struct.unpack_from("<8sIIQQI", raw)
    if magic != b"MIDUSTOK" or version != 1 or width not in (2, 4) or flags not in (0, 1):
        raise ValueError(f"{path}: no token file of version 1")
    expected = 128 + count * (width + flags)
    if len(raw) != expected:
        raise ValueError(f"{path}: {len(raw)} bytes, expected {expected}")
    code = "H" if width == 2 else "I"
    tokens = torch.tensor(struct.unpack_from(f"<{count}{code}", raw, 128), dtype=torch.int64)
    if count and tokens.max() >= vocabulary:
        raise ValueError(f"{path}: token {tokens.max()} outside the vocabulary of {vocabulary}")
    loss_weights = list(raw[128 + count * width :]) if flags else [1] * count
    return TokenFile(tokens, torch.tensor(loss_weights, dtype=torch.bool), vocabulary)


def windows_in_order(file: TokenFile, batch: int, length: int, steps: int) -> list[Batch]:
    """`steps` batches of the file's windows one after the other, from the start again at its end.

    Window w holds the tokens w·T … w·T + T: T inputs, and as targets the T that follow by one.
    """
    windows = (len(file.tokens) - 1) // length
    if windows < 1:
        raise ValueError(f"{len(file.tokens)} tokens, needs at least {length + 1}")
    targets = file.tokens.masked_fill(~file.counted, IGNORED)
    batches = []
    for s in range(steps):
        starts = [(s * batch + b) % windows * length for b in range(batch)]
        batches.append(
            Batch(
                torch.stack([file.tokens[start : start + length] for start in starts]),
                torch.stack([targets[start + 1 : start + length + 1] for start in starts]),
            )
        )
    return batches


def read_batches(path: Path) -> list[Batch]:
    """A JSON list of {"ids": [B,T], "targets": [B,T]}."""
    return parse_batches(json.loads(Path(path).read_text()))


def parse_batches(entries: list[dict]) -> list[Batch]:
    """The same from the parsed JSON."""
    return [Batch(torch.tensor(entry["ids"]), torch.tensor(entry["targets"])) for entry in entries]


# -------------------------------------------------------------------------------------------------
# Comparison with a log
# -------------------------------------------------------------------------------------------------


def read_log(path: Path) -> list[Step]:
    """The lines of a JSON-lines log that are about a step (those with a key `loss`)."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]
    keys = ("step", "loss", "learning_rate", "grad_norm")
    return [Step(*(line[key] for key in keys)) for line in lines if "loss" in line]


def compare_logs(ours: list[Step], reference: list[Step], bounds: dict[str, float]) -> list[str]:
    """Prints losses and differences side by side; returns what lies beyond the bounds."""
    failures = []
    expected = [step.step for step in reference]
    if [step.step for step in ours] != expected:
        failures.append(f"the log has steps {[step.step for step in ours]}, expected {expected}")
    print(f"{'step':>4} {'loss':>12} {'reference':>12} {'loss':>9} {'rate':>9} {'norm':>9}")
    for our, their in zip(ours, reference, strict=False):
        print(f"{our.step:4} {our.loss:12.8f} {their.loss:12.8f}", end="")
        for key in ("loss", "learning_rate", "grad_norm"):
            found = abs(getattr(our, key) / getattr(their, key) - 1)
            print(f" {found:9.2e}", end="")
            if not found <= bounds[key]:
                failures.append(f"step {our.step}: {key} differs by {found:.2e}")
        print()
    return failures


def compare_weights(
    ours: Weights, curve: Curve, start: Weights, trained: list[str], bound: float
) -> list[str]:
    """What is trained must agree within the bound, what is frozen must not have moved at all."""
    failures = []
    print(f"{'trained tensor':<62} {'difference / change':>19}")
    for name, initial in start.items():
        if name not in trained:
            if not torch.equal(ours[name], initial):
                failures.append(f"{name} is frozen, but has changed")
            continue
        change = (curve.weights[name] - initial).abs().max().item()
        difference = (curve.weights[name] - ours[name]).abs().max().item()
        print(f"{name:<62} {difference / change if change else difference:19.2e}")
        if not difference <= bound * change:
            failures.append(f"{name} differs by {difference:.2e} after changes of {change:.2e}")
    return failures


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="the checkpoint directory to start from")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--batches", type=Path, help='JSON: [{"ids": [B,T], "targets": [B,T]}, …]')
    source.add_argument("--tokens", type=Path, help="a token file, its windows taken in order")
    parser.add_argument("--batch", type=int, default=2, help="B (with --tokens)")
    parser.add_argument("--length", type=int, default=16, help="T (with --tokens)")
    parser.add_argument(
        "--train",
        nargs="+",
        default=["inserted"],
        help="everything, inserted, inserted:all, or patterns of names; default: inserted",
    )
    parser.add_argument("--log", type=Path, help="the JSON-lines log to compare with")
    parser.add_argument("--final", type=Path, help="the checkpoint directory after the last step")
    parser.add_argument("--double", action="store_true", help="the log was computed in double")
    parser.add_argument(
        "--rates-from-log",
        action="store_true",
        help="use the log's learning rates, to tell a difference of schedule from others",
    )
    settings = parser.add_argument_group("settings")
    for field in fields(Settings):
        settings.add_argument(
            "--" + field.name.replace("_", "-"),
            type=int if isinstance(field.default, int) else float,
            default=field.default,
            help=f"default: {field.default}",
        )
    options = parser.parse_args(arguments)
    if options.rates_from_log and not options.log:
        parser.error("--rates-from-log needs --log")

    torch.set_num_threads(1)
    dtype = torch.float64 if options.double or not options.log else torch.float32
    start = load_model(options.checkpoint)
    start.weights = {name: w.to(dtype).to(torch.float64) for name, w in start.weights.items()}
    chosen = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    if options.batches:
        batches = read_batches(options.batches)
    else:
        file = read_token_file(options.tokens)
        batches = windows_in_order(file, options.batch, options.length, chosen.steps)
    trained = trained_names(start.config, start.weights, options.train)
    if not trained:
        parser.error(f"--train {' '.join(options.train)} names nothing that could be trained")
    log = read_log(options.log) if options.log else []
    rates = [step.learning_rate for step in log] if options.rates_from_log else None
    curve = loss_curve(start, batches, chosen, trained, rates=rates)
    if not options.log:
        for step in curve.steps:
            print(json.dumps(asdict(step)))
        return 0
    failures = compare_logs(log, curve.steps, BOUNDS[dtype])
    if options.final:
        final = load_model(options.final).weights
        bound = BOUNDS[dtype]["weights"]
        failures += compare_weights(final, curve, start.weights, trained, bound)
    print(f"{len(trained)} tensors trained; smallest gap of a retrieval {curve.smallest_gap:.1e}")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    print("failed" if failures else "passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
