"""Writes test/torch/tables/: PyTorch's numbers for four tiny models, for tests without PyTorch.

    tables.py [--out DIR]        writes them
    tables.py --check            compares the ones that are there with the reference as it is now

Each table is a checkpoint directory in F64 (config.json, model.safetensors) with an input, ids.json
and targets.json ([B,T]; -100: does not count), and expected.safetensors: `logits` [B,T,V], `loss`
[1], and `grad.<name>` for every parameter. curve.json holds 20 AdamW steps (loss_curve.py says what
a step is): `train` (everything or inserted), `settings`, `batches` and `steps`, the log. All is
computed in float64. No choice of slots is nearly a tie, so that a computation in float32 from these
weights chooses the same slots.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from checkpoint import Weights, load_model
from compare import ATTEMPTS, draw_ids, relative_difference
from loss_curve import Batch, Curve, Settings, loss_curve, parse_batches, trained_names
from random_checkpoint import make_config, random_model, write_checkpoint
from reference import IGNORED, loss_and_gradients, read_ids
from safetensors_file import read_safetensors, write_safetensors

TABLES = Path(__file__).parent / "tables"
BATCH, LENGTH = 2, 9
SMALLEST_GAP_IN_CURVE = 3e-5
SMALLEST_GAP = 1e-4  # between the slots chosen and the others, in largest scores


def table_configs() -> dict[str, dict]:
    """The models: every kind of memory, GQA of several ratios, both rope spellings, both heads."""
    base = make_config(
        hidden_size=12, heads=4, kv_heads=2, head_dim=8, vocab=29, intermediate_size=20, llama3=True
    )
    hive = make_config(
        hidden_size=16, heads=4, kv_heads=2, layers=3, vocab=31, tied=True, positions=(0, 2)
    )
    dense = make_config(
        hidden_size=12,
        heads=3,
        kv_heads=1,
        vocab=23,
        positions=(1,),
        num_keys=4,
        top_k=4,
        value_rank=0,
    )
    pkm = make_config(
        hidden_size=10,
        heads=2,
        kv_heads=2,
        head_dim=6,
        vocab=27,
        llama3=True,
        positions=(0,),
        num_keys=6,
        top_k=2,
        pkm=(3, 8),
    )
    # As transformers 5 writes it.
    pkm["rope_parameters"] = pkm.pop("rope_scaling") | {"rope_theta": pkm.pop("rope_theta")}
    return {"base_llama3": base, "hive": hive, "dense": dense, "pkm": pkm}


def curve_options() -> dict[str, tuple[str, Settings]]:
    """What is trained in a table's 20 steps, and how."""
    plain = Settings(learning_rate=3e-3, floor=3e-4, values_rate_scale=5)
    own_clip = replace(plain, clip_norm=0.5, values_clip_norm=0.1)
    return {
        "base_llama3": ("everything", plain),
        "hive": ("inserted", own_clip),
        "dense": ("everything", plain),
        "pkm": ("inserted", plain),
    }


def expected(directory: Path) -> Weights:
    """Logits, loss and gradients of the table's checkpoint on the table's input."""
    ids, targets = read_ids(directory / "ids.json"), read_ids(directory / "targets.json")
    result = loss_and_gradients(load_model(directory), ids, targets)
    gradients = {f"grad.{name}": gradient for name, gradient in result.gradients.items()}
    return {"logits": result.logits, "loss": result.loss[None]} | gradients


def compute_curve(directory: Path, batches: list[Batch]) -> Curve:
    """The table's 20 steps on these batches."""
    train, settings = curve_options()[directory.name]
    model = load_model(directory)
    trained = trained_names(model.config, model.weights, [train])
    return loss_curve(model, batches, settings, trained)


def write_curve(directory: Path, seed: int) -> None:
    """Draws batches until no choice of slots in the 20 steps is nearly a tie."""
    train, settings = curve_options()[directory.name]
    vocabulary = load_model(directory).config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    shape = (settings.steps, BATCH, LENGTH)
    for _ in range(ATTEMPTS):
        ids = torch.randint(vocabulary, shape, generator=generator)
        targets = torch.randint(vocabulary, shape, generator=generator)
        targets[torch.rand(shape, generator=generator) < 0.1] = IGNORED
        curve = compute_curve(directory, [Batch(*pair) for pair in zip(ids, targets, strict=True)])
        if curve.smallest_gap > SMALLEST_GAP_IN_CURVE:
            break
    else:
        raise ValueError(f"{directory}: a near tie in each of {ATTEMPTS} curves")
    pairs = zip(ids.tolist(), targets.tolist(), strict=True)
    content = {
        "train": train,
        "settings": asdict(settings),
        "batches": [{"ids": i, "targets": t} for i, t in pairs],
        "steps": [asdict(step) for step in curve.steps],
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    (directory / "curve.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_table(directory: Path, json_config: dict, seed: int) -> None:
    """Draws weights, ids and targets, and writes all that belongs to a table."""
    json_config["torch_dtype"] = "float64"
    model = random_model(json_config, seed)
    ids = draw_ids(model, (BATCH, LENGTH), seed, SMALLEST_GAP)
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(model.config.vocab_size, ids.shape, generator=generator)
    targets[0, 3], targets[1, :2] = IGNORED, IGNORED
    write_checkpoint(directory, json_config, model.weights, torch.float64)
    (directory / "ids.json").write_text(json.dumps(ids.tolist()) + "\n")
    (directory / "targets.json").write_text(json.dumps(targets.tolist()) + "\n")
    write_safetensors(directory / "expected.safetensors", expected(directory))
    write_curve(directory, seed)


def largest_difference(directory: Path) -> float:
    """How far the table's numbers are from the reference's of today, over all its tensors."""
    stored, now = read_safetensors(directory / "expected.safetensors"), expected(directory)
    if stored.keys() != now.keys():
        return float("inf")
    differences = [relative_difference(stored[name], now[name]) for name in now]
    content = json.loads((directory / "curve.json").read_text())
    curve = compute_curve(directory, parse_batches(content["batches"]))
    for then, step in zip(content["steps"], curve.steps, strict=True):
        differences += [abs(then[key] / value - 1) for key, value in asdict(step).items()]
    return max(differences)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=TABLES, help="default: tables/ beside this file"
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args()
    torch.set_num_threads(1)
    good = True
    for seed, (name, json_config) in enumerate(table_configs().items()):
        directory = options.out / name
        if not options.check:
            write_table(directory, json_config, seed)
        difference = largest_difference(directory)
        good = good and difference <= 1e-11
        size = sum(file.stat().st_size for file in directory.iterdir())
        print(f"{directory}: {size} bytes, largest difference {difference:.1e}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
