"""A Llama with Memory blocks (MIDUS, arXiv 2512.13751) for transformers. Written by midus.

    model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True)

`output_hidden_states=True` gives the embeddings and what each block of the stack puts out, the last one behind the
final norm. Memory blocks are blocks as layers are: `model.model.order` says which block hidden_states[i + 1] is of.

Shapes in comments: B sequences, T tokens, d width, H query heads, KV key/value heads, D head width, n sub-keys per
side, k retrieved slots, r latent rank.
"""

import math

import torch
import torch.nn.functional as F
import transformers
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_midus import MidusConfig

# What transformers calls the cache: `past_key_values`, from 5.24 on `cache`.
CACHE = "cache" if "cache" in getattr(CausalLMOutputWithPast, "__dataclass_fields__", {}) else "past_key_values"


def head_width(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def inverse_frequencies(config):
    """ω_i = theta^(-2i/D), scaled by the `llama3` rule where that applies. [D/2], float64."""
    rope = dict(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})
    theta = rope.get("rope_theta") or getattr(config, "rope_theta", None) or 10000.0
    D = head_width(config)
    omega = theta ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return omega
    if kind != "llama3":
        raise ValueError(f"rope_type {kind} is not supported")
    wavelength = 2 * math.pi / omega
    low, high, original = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    s = (original / wavelength - low) / (high - low)
    scaled = torch.where(wavelength > original / low, omega / rope["factor"], (1 - s) * omega / rope["factor"] + s * omega)
    return torch.where(wavelength < original / high, omega, scaled)


def rotate(x, cos, sin):
    """Half-split rotation: element i turns with i + D/2. x [B,heads,T,D], tables [B,1,T,D/2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class MidusRMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class MidusAttention(nn.Module):
    """Causal attention with grouped key/value heads; in a Memory block without the output projection."""

    def __init__(self, config, index, output_projection):
        super().__init__()
        self.index = index  # of the cache's layer
        self.H, self.KV, self.D = config.num_attention_heads, config.num_key_value_heads, head_width(config)
        self.q_proj = nn.Linear(config.hidden_size, self.H * self.D, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.KV * self.D, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.KV * self.D, bias=False)
        self.o_proj = nn.Linear(self.H * self.D, config.hidden_size, bias=False) if output_projection else None

    def forward(self, u, cos, sin, mask, cache):
        """u [B,T,d]; [B,T,d], or [B,T,H,D] without output projection."""
        B, T, _ = u.shape
        q = self.q_proj(u).view(B, T, self.H, self.D).transpose(1, 2)
        k = self.k_proj(u).view(B, T, self.KV, self.D).transpose(1, 2)
        v = self.v_proj(u).view(B, T, self.KV, self.D).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.update(k, v, self.index)
        if self.KV != self.H:  # head h reads key/value head h·KV/H
            k = k.repeat_interleave(self.H // self.KV, dim=1)
            v = v.repeat_interleave(self.H // self.KV, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
        return y if self.o_proj is None else self.o_proj(y.reshape(B, T, -1))


class MidusMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, u):
        return self.down_proj(F.silu(self.gate_proj(u)) * self.up_proj(u))


class MidusMemory(nn.Module):
    """Product-key memory: head-wise with a shared latent bank (HIVE) or dense banks, or one for the block (PKM)."""

    def __init__(self, config):
        super().__init__()
        memory = config.midus
        H, D, d = config.num_attention_heads, head_width(config), config.hidden_size
        self.n, self.k = memory["num_keys"], memory["top_k"]
        self.headwise = memory.get("memory", "hml") == "hml"
        self.rank = memory.get("value_rank", 0)
        heads, width = (H, D) if self.headwise else (memory["memory_heads"], memory["query_dim"])
        self.heads, self.width = heads, width
        self.row_keys = nn.Parameter(torch.zeros(heads, self.n, width // 2))
        self.col_keys = nn.Parameter(torch.zeros(heads, self.n, width // 2))
        self.query_proj = None if self.headwise else nn.Linear(H * D, heads * width, bias=False)
        if not self.headwise:
            self.values = nn.Parameter(torch.zeros(self.n * self.n, d))
        elif self.rank > 0:
            self.values = nn.Parameter(torch.zeros(self.n * self.n, self.rank))
            self.value_proj = nn.Parameter(torch.zeros(H, self.rank, D))
        else:
            self.values = nn.Parameter(torch.zeros(H, self.n * self.n, D))

    def look_up(self, q):
        """q [B,T,heads,width]: slots and weights [B,T,heads,k]. Of equal scores the earlier one, as midus has it."""
        q_row, q_col = q.chunk(2, dim=-1)
        row, row_index = torch.einsum("bthe,hne->bthn", q_row, self.row_keys).sort(dim=-1, descending=True, stable=True)
        col, col_index = torch.einsum("bthe,hne->bthn", q_col, self.col_keys).sort(dim=-1, descending=True, stable=True)
        grid = (row[..., : self.k, None] + col[..., None, : self.k]).flatten(-2)
        scores, place = grid.sort(dim=-1, descending=True, stable=True)
        scores, place = scores[..., : self.k], place[..., : self.k]
        slots = row_index.gather(-1, place // self.k) * self.n + col_index.gather(-1, place % self.k)
        return slots, scores.softmax(-1)

    @staticmethod
    def pool(slots, weights, values):
        """Σ w V[slot] over the last dimension, without a copy of every row. slots [...,k], values [N,r]: [...,r]."""
        shape = slots.shape[:-1]
        pooled = F.embedding_bag(slots.reshape(-1, slots.shape[-1]), values,
                                 per_sample_weights=weights.reshape(-1, weights.shape[-1]).to(values.dtype), mode="sum")
        return pooled.view(*shape, -1)

    def forward(self, a):
        """a [B,T,H,D]: what is added to the residual stream, [B,T,d]."""
        q = a if self.headwise else self.query_proj(a.flatten(-2)).unflatten(-1, (self.heads, self.width))
        slots, weights = self.look_up(q)
        if not self.headwise:
            return self.pool(slots.flatten(-2), weights.flatten(-2), self.values)
        if self.rank > 0:  # pooled in the latent space, then projected for each head
            return torch.einsum("bthr,hrd->bthd", self.pool(slots, weights, self.values), self.value_proj).flatten(-2)
        head = torch.arange(self.heads, device=slots.device)[:, None] * (self.n * self.n)
        return self.pool(slots + head, weights, self.values.flatten(0, 1)).flatten(-2)


class MidusMemoryBlock(nn.Module):
    """x + memory(attention(norm(x)))."""

    def __init__(self, config, index):
        super().__init__()
        self.input_layernorm = MidusRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = MidusAttention(config, index, output_projection=False)
        self.memory = MidusMemory(config)

    def forward(self, x, cos, sin, mask, cache):
        return x + self.memory(self.self_attn(self.input_layernorm(x), cos, sin, mask, cache))


class MidusDecoderLayer(nn.Module):
    """A Llama's layer."""

    def __init__(self, config, index):
        super().__init__()
        self.input_layernorm = MidusRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = MidusAttention(config, index, output_projection=True)
        self.post_attention_layernorm = MidusRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MidusMLP(config)

    def forward(self, x, cos, sin, mask, cache):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class MidusPreTrainedModel(PreTrainedModel):
    config_class = MidusConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["MidusDecoderLayer", "MidusMemoryBlock"]
    _supports_sdpa = True
    _supports_cache_class = True

    def _init_weights(self, module):
        std = getattr(self.config, "initializer_range", 0.02)
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, MidusRMSNorm):
            nn.init.ones_(module.weight)
        elif isinstance(module, MidusMemory):  # keys uniform, values zero: the block begins as the identity
            bound = 1 / math.sqrt(module.width)
            nn.init.uniform_(module.row_keys, -bound, bound)
            nn.init.uniform_(module.col_keys, -bound, bound)
            nn.init.zeros_(module.values)
            if module.headwise and module.rank > 0:
                nn.init.normal_(module.value_proj, std=1 / math.sqrt(module.rank))


class MidusModel(MidusPreTrainedModel):
    """The stack: embedding, layers with Memory blocks before some of them, the last norm."""

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        positions = list(config.midus["positions"])
        self.order = []  # ("memory_blocks" or "layers", index), as the stack runs
        for layer in range(config.num_hidden_layers):
            if layer in positions:
                self.order.append(("memory_blocks", positions.index(layer)))
            self.order.append(("layers", layer))
        place = {block: index for index, block in enumerate(self.order)}
        self.layers = nn.ModuleList(MidusDecoderLayer(config, place["layers", i]) for i in range(config.num_hidden_layers))
        self.memory_blocks = nn.ModuleList(MidusMemoryBlock(config, place["memory_blocks", j]) for j in range(len(positions)))
        self.norm = MidusRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def forward(self, x, attention_mask=None, position_ids=None, cache=None, states=None):
        """x [B,T,d]: the last hidden state [B,T,d]. The list `states` gets what goes into each block, and that too."""
        B, T, _ = x.shape
        past = cache.get_seq_length() if cache is not None else 0
        if cache is not None:
            layers = getattr(cache, "layers", None)  # a cache made for num_hidden_layers lacks the Memory blocks'
            while layers and len(layers) < len(self.order):
                layers.append(type(layers[0])())
        if position_ids is None:
            position_ids = torch.arange(past, past + T, device=x.device)[None, :]
        angles = position_ids.to(torch.float64)[:, None, :, None] * inverse_frequencies(self.config).to(x.device)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)  # [B,1,T,D/2]
        key = torch.arange(past + T, device=x.device)
        query = torch.arange(past, past + T, device=x.device)
        mask = (key[None, :] <= query[:, None])[None, None]  # [1,1,T,past+T]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, :].to(torch.bool)
            mask = mask | (key[None, :] == query[:, None])[None, None]  # padding sees itself, not nothing: no NaN
        for kind, index in self.order:
            if states is not None:
                states.append(x)
            block = getattr(self, kind)[index]
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(block.__call__, x, cos, sin, mask, None)
            else:
                x = block(x, cos, sin, mask, cache)
        x = self.norm(x)
        if states is not None:
            states.append(x)
        return x


class MidusForCausalLM(MidusPreTrainedModel, GenerationMixin):
    # transformers 5 wants to know what the head is tied to.
    _tied_weights_keys = ({"lm_head.weight": "model.embed_tokens.weight"}
                          if int(transformers.__version__.split(".")[0]) >= 5 else ["lm_head.weight"])

    def __init__(self, config):
        super().__init__(config)
        self.model = MidusModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def get_decoder(self):
        return self.model

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                labels=None, use_cache=None, logits_to_keep=0, num_items_in_batch=None, return_dict=None, cache=None,
                output_hidden_states=None, output_attentions=None, **kwargs):
        if output_hidden_states is None:
            output_hidden_states = getattr(self.config, "output_hidden_states", False)
        if output_attentions is None:
            output_attentions = getattr(self.config, "output_attentions", False)
        if output_attentions:
            raise ValueError("output_attentions: MidusForCausalLM does not keep the weights of its attention")
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give input_ids or inputs_embeds")
        x = self.model.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = self.config.use_cache if use_cache is None else use_cache
        cache = past_key_values if cache is None else cache
        if cache is None and use_cache and not self.training:
            cache = DynamicCache()
        states = [] if output_hidden_states else None
        hidden = self.model(x, attention_mask, position_ids, cache, states)
        kept = hidden[:, -logits_to_keep:] if isinstance(logits_to_keep, int) else hidden[:, logits_to_keep]
        logits = self.lm_head(kept)
        loss = None
        if labels is not None:  # position t predicts the label of t + 1; -100 counts nowhere
            flat = logits[:, :-1].reshape(-1, logits.shape[-1]).float()
            target = labels[:, 1:].reshape(-1).to(flat.device)
            total = F.cross_entropy(flat, target, ignore_index=-100, reduction="sum")
            loss = total / (num_items_in_batch if num_items_in_batch is not None else (target != -100).sum())
        output = CausalLMOutputWithPast(loss=loss, logits=logits, hidden_states=tuple(states) if states else None,
                                        **{CACHE: cache})
        return output if return_dict is not False else output.to_tuple()
