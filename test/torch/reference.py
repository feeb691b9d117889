"""MIDUS in straightforward PyTorch: the independent judge of the C++ library.

It shares nothing with the C++ code: it is written from the method (arXiv 2512.13751) and from the
description of the files alone, and gets its gradients from autograd. It reads any checkpoint
directory (config.json, model.safetensors or shards; F64, F32, F16, BF16) and computes in float64
unless told otherwise.

Shapes in comments: B sequences, T tokens, d width, H query heads, KV key/value heads, D head width,
V vocabulary, n sub-keys per side, k retrieved slots, r latent rank. For the block-level product-key
memory (PKM): M memory heads of query width E. A weight of a projection is [out, in], y = x Wᵀ, and
every tensor goes by its name in the checkpoint.

    reference.py CHECKPOINT --ids FILE --out FILE [--targets FILE] [--gradients FILE]
                 [--double]

takes the command line of midus's own program; as a module:

    model = load_model(Path("checkpoint/"))
    result = loss_and_gradients(model, ids, targets)      # ids, targets: [B,T] int64
"""

import argparse
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch

from safetensors_file import read_safetensors, write_safetensors

Weights = dict[str, torch.Tensor]
IGNORED = -100  # a target that does not count

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
        _require(not get(key, False), f"config.json: {key} is not supported")
    _require(get("hidden_act", "silu") in ("silu", "swish"), "config.json: hidden_act must be silu")
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
    _require(
        config.num_heads % config.num_kv_heads == 0,
        "num_attention_heads must be a multiple of num_key_value_heads",
    )
    _require(config.head_dim % 2 == 0, f"head_dim {config.head_dim} is odd")
    memory = config.memory
    if memory:
        _require(
            list(memory.positions) == sorted(set(memory.positions)), "midus.positions must ascend"
        )
        _require(
            0 <= memory.positions[0] and memory.positions[-1] < config.num_layers,
            "midus.positions out of range",
        )
        _require(
            1 <= memory.top_k <= memory.num_keys, "midus.top_k must lie between 1 and num_keys"
        )
        if memory.kind == "hml":
            _require(
                config.num_heads * config.head_dim == config.hidden_size,
                f"HML needs heads {config.num_heads} * head_dim {config.head_dim}"
                f" = hidden_size {config.hidden_size}",
            )
        else:
            _require(memory.query_dim % 2 == 0, f"midus.query_dim {memory.query_dim} is odd")
    return config


def _parse_rope(json_config: dict) -> Rope:
    """`rope_theta` and `rope_scaling`, or transformers 5's `rope_parameters` that holds both."""
    section = json_config.get("rope_parameters") or json_config.get("rope_scaling") or {}
    theta = section.get("rope_theta", json_config.get("rope_theta", 10000.0))
    kinds = {section[key] for key in ("rope_type", "type") if key in section} or {"default"}
    _require(len(kinds) == 1, f"config.json: RoPE is called {kinds}")
    kind = kinds.pop()
    if kind == "default":
        return Rope(theta)
    _require(kind == "llama3", f"config.json: RoPE of type {kind} is not supported")
    rope = Rope(
        theta,
        True,
        section["factor"],
        section["low_freq_factor"],
        section["high_freq_factor"],
        section["original_max_position_embeddings"],
    )
    _require(
        rope.low_freq_factor != rope.high_freq_factor,
        "config.json: low_freq_factor equals high_freq_factor",
    )
    return rope


def _parse_memory(midus: dict | None) -> Memory | None:
    """The key `midus`, which only an up-scaled model has."""
    if midus is None:
        return None
    kind = midus.get("memory", "hml")
    _require(kind in ("hml", "pkm"), f"config.json: midus.memory {kind} is not known")
    own = {"memory_heads", "query_dim"} if kind == "pkm" else {"value_rank"}
    unknown = set(midus) - {"memory", "positions", "num_keys", "top_k"} - own
    _require(not unknown, f"config.json: midus has unknown keys {sorted(unknown)}")
    return Memory(
        kind,
        tuple(midus["positions"]),
        midus["num_keys"],
        midus["top_k"],
        **{key: midus[key] for key in own},
    )


def _require(condition: object, message: str) -> None:
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
        _require(
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
    _require(not unexpected, f"{directory}: unexpected tensors {unexpected}")
    _require(not missing, f"{directory}: missing tensors {missing}")
    for name, shape in shapes.items():
        found = tuple(stored[name].shape)
        _require(found == shape, f"{directory}: {name} is {list(found)}, expected {list(shape)}")
    return Model(config, {name: stored[name].to(dtype) for name in shapes})


# -------------------------------------------------------------------------------------------------
# The steps of the forward pass
# -------------------------------------------------------------------------------------------------


@dataclass
class Retrieval:
    """How clear-cut the look-ups of a forward pass were: rounding below the gap changes no slot."""

    smallest_gap: float = math.inf  # between the k-th and the (k+1)-th of all sums
    largest_score: float = 0.0
    slots: list[torch.Tensor] = field(default_factory=list)  # per Memory block [B,T,heads,k]


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """x / √(mean x² + eps) · weight, over the last dimension."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def inverse_frequencies(rope: Rope, head_dim: int) -> torch.Tensor:
    """ω_i = theta^(-2i/D), scaled by the `llama3` rule where that applies. [D/2], float64."""
    omega = rope.theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    if not rope.scaled:
        return omega
    wavelength = 2 * math.pi / omega
    low, high = rope.low_freq_factor, rope.high_freq_factor
    s = (rope.original_length / wavelength - low) / (high - low)
    between = (1 - s) * omega / rope.factor + s * omega
    scaled = torch.where(wavelength > rope.original_length / low, omega / rope.factor, between)
    return torch.where(wavelength < rope.original_length / high, omega, scaled)


def rotary_tables(
    rope: Rope, head_dim: int, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin of position · ω: two [T,D/2], float64."""
    angles = positions.to(torch.float64)[:, None] * inverse_frequencies(rope, head_dim)[None, :]
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Half-split rotation: element i turns with i + D/2. x [B,T,heads,D], tables [T,D/2]."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos[:, None, :].to(x.dtype), sin[:, None, :].to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def attention_heads(config: Config, weights: Weights, prefix: str, u: torch.Tensor) -> torch.Tensor:
    """Causal multi-head attention of u [B,T,d] without output projection: [B,T,H,D]."""
    B, T, _ = u.shape
    H, KV, D = config.num_heads, config.num_kv_heads, config.head_dim
    q = (u @ weights[prefix + "self_attn.q_proj.weight"].T).view(B, T, H, D)
    k = (u @ weights[prefix + "self_attn.k_proj.weight"].T).view(B, T, KV, D)
    v = (u @ weights[prefix + "self_attn.v_proj.weight"].T).view(B, T, KV, D)
    cos, sin = rotary_tables(config.rope, D, torch.arange(T))
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    kv_of_head = torch.arange(H) * KV // H  # head h reads key/value head ⌊h·KV/H⌋
    k, v = k[:, :, kv_of_head], v[:, :, kv_of_head]  # [B,T,H,D]
    scores = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(D)
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    attention = scores.masked_fill(later, -math.inf).softmax(-1)  # [B,H,T,T]
    return torch.einsum("bhts,bshd->bthd", attention, v)


def product_key_top_k(
    row_scores: torch.Tensor, col_scores: torch.Tensor, k: int, watch: Retrieval | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best of all n² sums row + col: scores and slots i_row·n + i_col, [...,k], best first.

    Equal scores go by grid rank: position i·k + j in the two sorted lists; within a list the lower
    sub-key index comes first. Both stages are stable sorts, so that the rule holds by itself.
    """
    n = row_scores.shape[-1]
    row_sorted, row_index = row_scores.sort(dim=-1, descending=True, stable=True)
    col_sorted, col_index = col_scores.sort(dim=-1, descending=True, stable=True)
    grid = row_sorted[..., :k, None] + col_sorted[..., None, :k]  # [...,k,k]
    grid_sorted, grid_index = grid.flatten(-2).sort(dim=-1, descending=True, stable=True)
    scores, place = grid_sorted[..., :k], grid_index[..., :k]
    slots = row_index.gather(-1, place // k) * n + col_index.gather(-1, place % k)
    if watch is not None:
        watch.slots.append(slots)
        watch.largest_score = max(watch.largest_score, scores.abs().max().item())
        if n > 1:
            next_best = row_sorted[..., : k + 1, None] + col_sorted[..., None, : k + 1]
            best = next_best.detach().flatten(-2).sort(dim=-1, descending=True).values
            gap = (best[..., k - 1] - best[..., k]).min().item()
            watch.smallest_gap = min(watch.smallest_gap, gap)
    return scores, slots


def headwise_memory(
    config: Config, weights: Weights, prefix: str, a: torch.Tensor, watch: Retrieval | None = None
) -> torch.Tensor:
    """HML: every head looks its attention output a [B,T,H,D] up in its own memory: [B,T,H·D]."""
    memory = config.memory
    q_row, q_col = a.chunk(2, dim=-1)  # [B,T,H,D/2]
    s_row = torch.einsum("bthe,hne->bthn", q_row, weights[prefix + "row_keys"])
    s_col = torch.einsum("bthe,hne->bthn", q_col, weights[prefix + "col_keys"])
    scores, slots = product_key_top_k(s_row, s_col, memory.top_k, watch)
    w = scores.softmax(-1)  # [B,T,H,k]
    values = weights[prefix + "values"]
    if memory.value_rank > 0:  # HIVE: one latent bank, pooled first, then projected for each head
        z = (w[..., None] * values[slots]).sum(-2)  # [B,T,H,r]
        y = torch.einsum("bthr,hrd->bthd", z, weights[prefix + "value_proj"])
    else:  # a dense bank for each head
        head = torch.arange(config.num_heads)[:, None]
        y = (w[..., None] * values[head, slots]).sum(-2)  # [B,T,H,D]
    return y.flatten(-2)


def product_key_memory(
    config: Config, weights: Weights, prefix: str, a: torch.Tensor, watch: Retrieval | None = None
) -> torch.Tensor:
    """PKM: one memory for the block, M heads whose reads are summed. a [B,T,H,D] -> [B,T,d]."""
    memory = config.memory
    q = a.flatten(-2) @ weights[prefix + "query_proj.weight"].T
    q = q.unflatten(-1, (memory.memory_heads, memory.query_dim))  # [B,T,M,E]
    q_row, q_col = q.chunk(2, dim=-1)
    s_row = torch.einsum("btme,mne->btmn", q_row, weights[prefix + "row_keys"])
    s_col = torch.einsum("btme,mne->btmn", q_col, weights[prefix + "col_keys"])
    scores, slots = product_key_top_k(s_row, s_col, memory.top_k, watch)
    w = scores.softmax(-1)  # [B,T,M,k]
    return (w[..., None] * weights[prefix + "values"][slots]).sum((-3, -2))


def memory_block(
    config: Config, weights: Weights, prefix: str, x: torch.Tensor, watch: Retrieval | None = None
) -> torch.Tensor:
    """M(x) = x + memory(Attn'(RMSNorm(x))); x [B,T,d]."""
    u = rms_norm(x, weights[prefix + "input_layernorm.weight"], config.rms_norm_eps)
    a = attention_heads(config, weights, prefix, u)
    read = product_key_memory if config.memory.kind == "pkm" else headwise_memory
    return x + read(config, weights, prefix + "memory.", a, watch)


def transformer_block(
    config: Config, weights: Weights, prefix: str, x: torch.Tensor
) -> torch.Tensor:
    """A Llama layer: x + o_proj(Attn(RMSNorm(x))), then x + SwiGLU(RMSNorm(x)); x [B,T,d]."""
    u = rms_norm(x, weights[prefix + "input_layernorm.weight"], config.rms_norm_eps)
    a = attention_heads(config, weights, prefix, u)
    x = x + a.flatten(-2) @ weights[prefix + "self_attn.o_proj.weight"].T
    u = rms_norm(x, weights[prefix + "post_attention_layernorm.weight"], config.rms_norm_eps)
    gate = u @ weights[prefix + "mlp.gate_proj.weight"].T
    up = u @ weights[prefix + "mlp.up_proj.weight"].T
    return x + (gate * torch.sigmoid(gate) * up) @ weights[prefix + "mlp.down_proj.weight"].T


def forward(model: Model, ids: torch.Tensor, watch: Retrieval | None = None) -> torch.Tensor:
    """The logits [B,T,V] of ids [B,T]."""
    config, weights = model.config, model.weights
    positions = config.memory.positions if config.memory else ()
    x = weights["model.embed_tokens.weight"][ids]  # [B,T,d]
    for i in range(config.num_layers):
        if i in positions:
            j = positions.index(i)
            x = memory_block(config, weights, f"model.memory_blocks.{j}.", x, watch)
        x = transformer_block(config, weights, f"model.layers.{i}.", x)
    x = rms_norm(x, weights["model.norm.weight"], config.rms_norm_eps)
    return x @ weights["model.embed_tokens.weight" if config.tied else "lm_head.weight"].T


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, ignore_index: int = IGNORED
) -> torch.Tensor:
    """Mean of -log softmax(logits)[target] over counted targets. logits [B,T,V], targets [B,T]."""
    counted = targets != ignore_index
    _require(counted.any(), "no target counts")
    log_probability = logits[counted].log_softmax(-1)  # [counted,V]
    return -log_probability.gather(-1, targets[counted][:, None]).mean()


# -------------------------------------------------------------------------------------------------
# Loss and gradients
# -------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What a forward and a backward pass give."""

    logits: torch.Tensor  # [B,T,V]
    loss: torch.Tensor  # scalar
    gradients: Weights  # under the parameters' names
    retrieval: Retrieval


def loss_and_gradients(
    model: Model,
    ids: torch.Tensor,
    targets: torch.Tensor,
    dtype: torch.dtype = torch.float64,
    ignore_index: int = IGNORED,
) -> Result:
    """One forward and backward pass in the given precision; the model itself is left alone."""
    leaves = {
        name: tensor.detach().to(dtype).requires_grad_() for name, tensor in model.weights.items()
    }
    watch = Retrieval()
    logits = forward(Model(model.config, leaves), ids, watch)
    loss = cross_entropy(logits, targets, ignore_index)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return Result(logits.detach(), loss.detach(), dict(zip(leaves, gradients, strict=True)), watch)


def read_ids(path: Path) -> torch.Tensor:
    """Ids or targets: a JSON list of equally long lists, [B,T] int64."""
    return torch.tensor(json.loads(Path(path).read_text()), dtype=torch.int64)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint directory")
    parser.add_argument("--ids", type=Path, required=True, help="JSON [B,T]")
    parser.add_argument("--targets", type=Path, help="JSON [B,T]; -100: does not count")
    parser.add_argument("--out", type=Path, required=True, help="safetensors: logits, loss")
    parser.add_argument("--gradients", type=Path, help="safetensors: a gradient per parameter")
    parser.add_argument("--double", action="store_true", help="compute in float64, not float32")
    options = parser.parse_args()
    _require(options.targets or not options.gradients, "--gradients needs --targets")

    dtype = torch.float64 if options.double else torch.float32
    model, ids = load_model(options.checkpoint, dtype), read_ids(options.ids)
    if not options.targets:
        with torch.no_grad():
            write_safetensors(options.out, {"logits": forward(model, ids)})
        return
    result = loss_and_gradients(model, ids, read_ids(options.targets), dtype)
    write_safetensors(options.out, {"logits": result.logits, "loss": result.loss[None]})
    if options.gradients:
        write_safetensors(options.gradients, result.gradients)


if __name__ == "__main__":
    main()
