"""MIDUS in straightforward PyTorch: the independent judge of the C++ library.

It shares nothing with the C++ code: it is written from the method (arXiv 2512.13751) alone, and gets
its gradients from autograd. It runs any checkpoint directory that checkpoint.py reads, in float64
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

from checkpoint import Config, Model, Rope, Weights, load_model, require
from safetensors_file import write_safetensors

IGNORED = -100  # a target that does not count

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
    require(counted.any(), "no target counts")
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
    require(options.targets or not options.gradients, "--gradients needs --targets")

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
