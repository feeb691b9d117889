"""What a checkpoint directory is: config.json, the tensors by name and shape, the weight files.

Written from the description of the files alone, as reference.py is from the method; it shares nothing
with the C++ code. Names in shapes are those of reference.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from safetensors_file import read_safetensors

Weights = dict[str, torch.Tensor]

# -------------------------------------------------------------------------------------------------
# The configuration
# -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding: its base, and the `llama3` scaling where there is one."""

    theta: float
    scaled: bool = False
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_length: int = 0


@dataclass(frozen=True)
class Memory:
    """What the Memory blocks of a model are, and which layers they come just before."""

    kind: str  # "hml" or "pkm"
    positions: tuple[int, ...]
    num_keys: int  # n
    top_k: int  # k
    value_rank: int = 0  # r; 0: dense banks (HML only)
    memory_heads: int = 0  # M (PKM only)
    query_dim: int = 0  # E (PKM only)


@dataclass(frozen=True)
class Config:
    """The numbers of a model, from its config.json."""

    vocab_size: int  # V
    hidden_size: int  # d
    intermediate_size: int
    num_layers: int
    num_heads: int  # H
    num_kv_heads: int  # KV
    head_dim: int  # D
    rms_norm_eps: float
    tied: bool
    rope: Rope
    memory: Memory | None
    history: tuple[dict, ...]  # the expansions, oldest first, as in depth_upscaling.history


def read_config(path: Path) -> Config:
    """Reads config.json; refuses what this reference does not compute instead of ignoring it."""
    return parse_config(json.loads(Path(path).read_text()))


def parse_config(json_config: dict) -> Config:
    """The same from the parsed JSON."""

    def get(key: str, default: object) -> object:  # null means absent
        value = json_config.get(key)
        return default if value is None else value

    for key in ("attention_bias", "mlp_bias", "sliding_window", "quantization_config"):
        require(not get(key, False), f"config.json: {key} is not supported")
    require(get("hidden_act", "silu") in ("silu", "swish"), "config.json: hidden_act must be silu")
    num_heads = json_config["num_attention_heads"]
    config = Config(
        vocab_size=json_config["vocab_size"],
        hidden_size=json_config["hidden_size"],
        intermediate_size=json_config["intermediate_size"],
        num_layers=json_config["num_hidden_layers"],
        num_heads=num_heads,
        num_kv_heads=get("num_key_value_heads", num_heads),
        head_dim=get("head_dim", json_config["hidden_size"] // num_heads),
        rms_norm_eps=get("rms_norm_eps", 1e-6),
        tied=get("tie_word_embeddings", False),
        rope=_parse_rope(json_config),
        memory=_parse_memory(json_config.get("midus")),
        history=tuple(json_config.get("depth_upscaling", {}).get("history", ())),
    )
    require(
        config.num_heads % config.num_kv_heads == 0,
        "num_attention_heads must be a multiple of num_key_value_heads",
    )
    require(config.head_dim % 2 == 0, f"head_dim {config.head_dim} is odd")
    memory = config.memory
    if memory:
        require(
            list(memory.positions) == sorted(set(memory.positions)), "midus.positions must ascend"
        )
        require(
            0 <= memory.positions[0] and memory.positions[-1] < config.num_layers,
            "midus.positions out of range",
        )
        require(
            1 <= memory.top_k <= memory.num_keys, "midus.top_k must lie between 1 and num_keys"
        )
        if memory.kind == "hml":
            require(
                config.num_heads * config.head_dim == config.hidden_size,
                f"HML needs heads {config.num_heads} * head_dim {config.head_dim}"
                f" = hidden_size {config.hidden_size}",
            )
        else:
            require(memory.query_dim % 2 == 0, f"midus.query_dim {memory.query_dim} is odd")
    return config


def _parse_rope(json_config: dict) -> Rope:
    """`rope_theta` and `rope_scaling`, or transformers 5's `rope_parameters` that holds both."""
    section = json_config.get("rope_parameters") or json_config.get("rope_scaling") or {}
    theta = section.get("rope_theta", json_config.get("rope_theta", 10000.0))
    kinds = {section[key] for key in ("rope_type", "type") if key in section} or {"default"}
    require(len(kinds) == 1, f"config.json: RoPE is called {kinds}")
    kind = kinds.pop()
    if kind == "default":
        return Rope(theta)
    require(kind == "llama3", f"config.json: RoPE of type {kind} is not supported")
    rope = Rope(
        theta,
        True,
        section["factor"],
        section["low_freq_factor"],
        section["high_freq_factor"],
        section["original_max_position_embeddings"],
    )
    require(
        rope.low_freq_factor != rope.high_freq_factor,
        "config.json: low_freq_factor equals high_freq_factor",
    )
    return rope


def _parse_memory(midus: dict | None) -> Memory | None:
    """The key `midus`, which only an up-scaled model has."""
    if midus is None:
        return None
    kind = midus.get("memory", "hml")
    require(kind in ("hml", "pkm"), f"config.json: midus.memory {kind} is not known")
    own = {"memory_heads", "query_dim"} if kind == "pkm" else {"value_rank"}
    unknown = set(midus) - {"memory", "positions", "num_keys", "top_k", "values"} - own
    require(not unknown, f"config.json: midus has unknown keys {sorted(unknown)}")
    if kind == "hml":  # without a name, as old models are, the rank says which of the two it is
        expected = "factorized" if midus["value_rank"] > 0 else "dense"
        values = midus.get("values", expected)
        require(values == expected, f"config.json: midus.values {values} is not known, or has another value_rank")
    return Memory(
        kind,
        tuple(midus["positions"]),
        midus["num_keys"],
        midus["top_k"],
        **{key: midus[key] for key in own},
    )


def require(condition: object, message: str) -> None:
    """Raises ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


# -------------------------------------------------------------------------------------------------
# The parameters
# -------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """A configuration and every parameter under its checkpoint name."""

    config: Config
    weights: Weights


def parameter_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint of this model holds, no more and no less."""
    d, f = config.hidden_size, config.intermediate_size
    H, KV, D = config.num_heads, config.num_kv_heads, config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, d)}

    def add(prefix: str, **named: tuple[int, ...]) -> None:
        shapes.update({prefix + name.replace("__", "."): shape for name, shape in named.items()})

    def add_norm_and_attention(prefix: str) -> None:
        add(
            prefix,
            input_layernorm__weight=(d,),
            self_attn__q_proj__weight=(H * D, d),
            self_attn__k_proj__weight=(KV * D, d),
            self_attn__v_proj__weight=(KV * D, d),
        )

    for i in range(config.num_layers):
        prefix = f"model.layers.{i}."
        add_norm_and_attention(prefix)
        add(
            prefix,
            self_attn__o_proj__weight=(d, H * D),
            post_attention_layernorm__weight=(d,),
            mlp__gate_proj__weight=(f, d),
            mlp__up_proj__weight=(f, d),
            mlp__down_proj__weight=(d, f),
        )
    memory = config.memory
    for j in range(len(memory.positions) if memory else 0):
        n, r, M, E = memory.num_keys, memory.value_rank, memory.memory_heads, memory.query_dim
        add_norm_and_attention(f"model.memory_blocks.{j}.")
        prefix = f"model.memory_blocks.{j}.memory."
        if memory.kind == "pkm":
            add(
                prefix,
                query_proj__weight=(M * E, H * D),
                row_keys=(M, n, E // 2),
                col_keys=(M, n, E // 2),
                values=(n * n, d),
            )
        else:
            add(prefix, row_keys=(H, n, D // 2), col_keys=(H, n, D // 2))
            if r > 0:
                add(prefix, values=(n * n, r), value_proj=(H, r, D))
            else:
                add(prefix, values=(H, n * n, D))
    add("model.", norm__weight=(d,))
    if not config.tied:
        add("", lm_head__weight=(config.vocab_size, d))
    return shapes


def load_model(directory: Path, dtype: torch.dtype = torch.float64) -> Model:
    """Reads a checkpoint directory; every tensor must be there, have its shape, and be expected."""
    directory = Path(directory)
    config = read_config(directory / "config.json")
    files = [directory / "model.safetensors"]
    if not files[0].exists():
        index = json.loads((directory / "model.safetensors.index.json").read_text())
        files = [directory / shard for shard in sorted(set(index["weight_map"].values()))]
    stored: Weights = {}
    for file in files:
        tensors = read_safetensors(file)
        require(
            not stored.keys() & tensors.keys(), f"{file}: holds tensors that an earlier shard has"
        )
        stored.update(tensors)

    shapes = parameter_shapes(config)
    # Old files carry the rotary table.
    ignored = {name for name in stored if name.endswith("rotary_emb.inv_freq")}
    if config.tied:
        ignored.add("lm_head.weight")  # some tied files carry a copy; the configuration decides
    unexpected = sorted(stored.keys() - shapes.keys() - ignored)
    missing = sorted(shapes.keys() - stored.keys())
    require(not unexpected, f"{directory}: unexpected tensors {unexpected}")
    require(not missing, f"{directory}: missing tensors {missing}")
    for name, shape in shapes.items():
        found = tuple(stored[name].shape)
        require(found == shape, f"{directory}: {name} is {list(found)}, expected {list(shape)}")
    return Model(config, {name: stored[name].to(dtype) for name in shapes})
