"""Small random models of every kind, for the self-tests."""

import torch

from checkpoint import Model
from compare import draw_ids
from loss_curve import Batch
from random_checkpoint import make_config, random_model
from reference import IGNORED

HIVE = {"positions": (0, 1), "llama3": True, "hidden_size": 16, "heads": 4, "kv_heads": 2}
DENSE = HIVE | {"value_rank": 0, "tied": True}
PKM = {"positions": (0, 1), "pkm": (3, 6), "hidden_size": 10, "heads": 4, "head_dim": 6}
KINDS = {"base": {}, "hive": HIVE, "dense": DENSE, "pkm": PKM}
MEMORIES = {kind: flags for kind, flags in KINDS.items() if kind != "base"}


def example(flags: dict, seed: int = 0, length: int = 7, **kwargs) -> tuple[Model, Batch]:
    """A random model, and ids on which no retrieval is nearly a tie."""
    model = random_model(make_config(**flags), seed, **kwargs)
    ids = draw_ids(model, (2, length), seed, 1e-4)
    targets = ids.roll(1, dims=0)
    targets[0, 2] = IGNORED
    return model, Batch(ids, targets)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)
