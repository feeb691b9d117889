"""Writes a checkpoint directory with random weights, for a config.json or for flags.

    random_checkpoint.py OUT --config config.json
    random_checkpoint.py OUT --hidden-size 16 --heads 4 --layers 3 --positions 0 2 --value-rank 6
    random_checkpoint.py OUT --positions 1 --value-rank 0           # dense banks
    random_checkpoint.py OUT --positions 1 --pkm 3 6                # block-level product-key memory

The weights are such that everything gets a gradient that is far from zero: memory values are
random too (a freshly up-scaled model has zeros there: --zero-values), and activations, attention
scores and retrieval scores are near 1.
"""

import argparse
import json
import math
from pathlib import Path

import torch

from checkpoint import Model, Weights, parameter_shapes, parse_config
from safetensors_file import DTYPES, write_safetensors

# The original length is short, so that head_dim 8 has frequencies of all three kinds.
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def make_config(
    hidden_size: int = 16,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int | None = None,
    layers: int = 2,
    intermediate_size: int = 24,
    vocab: int = 32,
    tied: bool = False,
    llama3: bool = False,
    positions: tuple[int, ...] = (),
    num_keys: int = 5,
    top_k: int = 3,
    value_rank: int = 6,
    pkm: tuple[int, int] | None = None,
    seed: int = 0,
) -> dict:
    """A small model's config.json; Memory blocks before `positions`; pkm: heads, query width."""
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": vocab,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim or hidden_size // heads,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512,
        "rope_theta": 10000.0,
        "rope_scaling": LLAMA3 if llama3 else None,
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if positions:
        midus: dict[str, object] = {
            "positions": list(positions),
            "num_keys": num_keys,
            "top_k": top_k,
        }
        midus |= (
            {"memory": "pkm", "memory_heads": pkm[0], "query_dim": pkm[1]}
            if pkm
            else {"value_rank": value_rank}
        )
        history = {
            "policy": "pkm" if pkm else "midus",
            "parent_layers": layers,
            "parent_positions": list(positions),
            "inserted": [f"model.memory_blocks.{j}." for j in range(len(positions))],
            "seed": seed,
        }
        config |= {
            "architectures": ["MidusForCausalLM"],
            "model_type": "midus",
            "midus": midus,
            "depth_upscaling": {"version": 1, "history": [history]},
        }
    return config


def random_model(json_config: dict, seed: int = 0, zero_values: bool = False) -> Model:
    """Random weights for a parsed config.json, in float64."""
    config = parse_config(json_config)
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}
    for name, shape in parameter_shapes(config).items():
        normal = torch.randn(shape, generator=generator, dtype=torch.float64)
        if name.endswith("norm.weight"):
            weights[name] = 1 + 0.2 * normal
        elif name.endswith("memory.values"):
            weights[name] = torch.zeros_like(normal) if zero_values else normal
        elif name.endswith("memory.value_proj"):  # [H,r,D], variance 1/r
            weights[name] = normal / math.sqrt(shape[1])
        elif name.endswith(
            ("memory.row_keys", "memory.col_keys")
        ):  # [heads,n,half], wide: scores differ
            weights[name] = 2 * normal / math.sqrt(shape[2])
        else:  # [out,in], variance 1/in
            weights[name] = normal / math.sqrt(shape[1])
    return Model(config, weights)


def write_checkpoint(
    directory: Path,
    json_config: dict,
    weights: Weights,
    dtype: torch.dtype = torch.float32,
    shards: int = 1,
) -> None:
    """Writes config.json and model.safetensors, or that many shards and their index."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(json_config, indent=2) + "\n")
    stored = {name: tensor.to(dtype) for name, tensor in weights.items()}
    if shards == 1:
        write_safetensors(directory / "model.safetensors", stored)
        return
    names = sorted(stored)
    weight_map = {}
    for s in range(shards):
        file = f"model-{s + 1:05}-of-{shards:05}.safetensors"
        part = names[s * len(names) // shards : (s + 1) * len(names) // shards]
        write_safetensors(directory / file, {name: stored[name] for name in part})
        weight_map.update({name: file for name in part})
    total = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the directory to write")
    parser.add_argument(
        "--config",
        type=Path,
        help="take this one, but for the dtype; the shape's flags do not apply",
    )
    shape = parser.add_argument_group("the model's shape")
    shape.add_argument("--hidden-size", type=int, default=16)
    shape.add_argument("--heads", type=int, default=4)
    shape.add_argument("--kv-heads", type=int, default=2)
    shape.add_argument("--head-dim", type=int, help="default: hidden size / heads")
    shape.add_argument("--layers", type=int, default=2)
    shape.add_argument("--intermediate-size", type=int, default=24)
    shape.add_argument("--vocab", type=int, default=32)
    shape.add_argument("--tied", action="store_true", help="the head is the embedding")
    shape.add_argument(
        "--llama3", action="store_true", help="RoPE with llama3 scaling, original length 64"
    )
    shape.add_argument(
        "--positions",
        type=int,
        nargs="+",
        default=(),
        help="a Memory block before each of these layers",
    )
    shape.add_argument("--num-keys", type=int, default=5, help="n, sub-keys per side")
    shape.add_argument("--top-k", type=int, default=3, help="k, retrieved slots")
    shape.add_argument("--value-rank", type=int, default=6, help="r, latent rank; 0: dense banks")
    shape.add_argument(
        "--pkm",
        type=int,
        nargs=2,
        metavar=("MEMORY_HEADS", "QUERY_DIM"),
        help="block-level product-key memory instead of the head-wise one",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="F32")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--zero-values",
        action="store_true",
        help="memory values zero, as in a newly up-scaled model",
    )
    options = parser.parse_args()

    if options.config:
        json_config = json.loads(options.config.read_text())
    else:
        flags = (
            "hidden_size",
            "heads",
            "kv_heads",
            "head_dim",
            "layers",
            "intermediate_size",
            "vocab",
            "tied",
            "llama3",
            "positions",
            "num_keys",
            "top_k",
            "value_rank",
            "pkm",
            "seed",
        )
        json_config = make_config(**{flag: getattr(options, flag) for flag in flags})
    dtype_key = "dtype" if "dtype" in json_config else "torch_dtype"
    json_config[dtype_key] = str(DTYPES[options.dtype]).removeprefix("torch.")
    model = random_model(json_config, options.seed, options.zero_values)
    write_checkpoint(options.out, json_config, model.weights, DTYPES[options.dtype], options.shards)
    numbers = sum(tensor.numel() for tensor in model.weights.values())
    print(f"{options.out}: {len(model.weights)} tensors, {numbers} numbers, {options.dtype}")


if __name__ == "__main__":
    main()
