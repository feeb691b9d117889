"""A Llama with Memory blocks (MIDUS, arXiv 2512.13751) for transformers. Written by midus.

    model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True)

LoRA on the memories' values and on all that multiplies, with PEFT:

    LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", target_parameters=["memory.values"])

With product-key memories add exclude_modules=["query_proj"], since PEFT does not merge a layer inside a module one of
whose own parameters is a target.

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
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_midus import MidusConfig


# What transformers calls the cache in its outputs: `past_key_values`, from 5.24 on `cache`.
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


class Parametrizations(nn.ModuleDict):
    """What torch.nn.utils.parametrize keeps, PEFT's LoRA on parameters among it. A ModuleDict refuses a module named
    `values`, since it has a method of that name; this one takes it, and `self["values"]` is that module."""

    def __setitem__(self, name, module):
        self._modules[name] = module


class MidusMemory(nn.Module):
    """A memory looked up by product keys. What its values are, and what a head gets of those that were found, is the
    affair of the kinds below; `MEMORIES` names them."""

    def __init__(self, config, heads, width):
        """heads: queries per token, each of `width` numbers."""
        super().__init__()
        self.n, self.k = config.midus["num_keys"], config.midus["top_k"]
        self.heads, self.width = heads, width
        self.row_keys = nn.Parameter(torch.zeros(heads, self.n, width // 2))
        self.col_keys = nn.Parameter(torch.zeros(heads, self.n, width // 2))

    def __setattr__(self, name, value):
        super().__setattr__(name, Parametrizations(value) if name == "parametrizations" else value)

    def initialise(self):
        """Keys uniform, values zero: the block begins as the identity."""
        bound = 1 / math.sqrt(self.width)
        nn.init.uniform_(self.row_keys, -bound, bound)
        nn.init.uniform_(self.col_keys, -bound, bound)
        if hasattr(self, "values"):  # a policy may call its tensors otherwise, and start them itself
            nn.init.zeros_(self.values)

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
        dtype, shape = values.dtype, slots.shape[:-1]
        if values.requires_grad and torch.is_grad_enabled() and dtype in (torch.float16, torch.bfloat16):
            values = values.float()  # a row's gradient has as many addends as tokens found it: they add up in float32
        pooled = F.embedding_bag(slots.reshape(-1, slots.shape[-1]), values,
                                 per_sample_weights=weights.reshape(-1, weights.shape[-1]).to(values.dtype), mode="sum")
        return pooled.to(dtype).view(*shape, -1)


class MidusFactorizedMemory(MidusMemory):
    """Head-wise: the heads share one bank of short rows, pooled as they are and then projected for each head (HIVE)."""

    def __init__(self, config):
        H, D, rank = config.num_attention_heads, head_width(config), config.midus["value_rank"]
        super().__init__(config, H, D)
        self.values = nn.Parameter(torch.zeros(self.n * self.n, rank))
        self.value_proj = nn.Parameter(torch.zeros(H, rank, D))

    def initialise(self):
        super().initialise()
        nn.init.normal_(self.value_proj, std=1 / math.sqrt(self.value_proj.shape[1]))

    def forward(self, a):
        """a [B,T,H,D]: what is added to the residual stream, [B,T,d]."""
        return torch.einsum("bthr,hrd->bthd", self.pool(*self.look_up(a), self.values), self.value_proj).flatten(-2)


class MidusDenseMemory(MidusMemory):
    """Head-wise: each head has a bank of its own."""

    def __init__(self, config):
        H, D = config.num_attention_heads, head_width(config)
        super().__init__(config, H, D)
        self.values = nn.Parameter(torch.zeros(H, self.n * self.n, D))

    def forward(self, a):
        """a [B,T,H,D]: what is added to the residual stream, [B,T,d]."""
        slots, weights = self.look_up(a)
        head = torch.arange(self.heads, device=slots.device)[:, None] * (self.n * self.n)
        return self.pool(slots + head, weights, self.values.flatten(0, 1)).flatten(-2)


class MidusPkmMemory(MidusMemory):
    """One bank for the block, whose rows are as wide as the residual stream; its queries are projected (PKM)."""

    def __init__(self, config):
        super().__init__(config, config.midus["memory_heads"], config.midus["query_dim"])
        wide = config.num_attention_heads * head_width(config)
        self.query_proj = nn.Linear(wide, self.heads * self.width, bias=False)
        self.values = nn.Parameter(torch.zeros(self.n * self.n, config.hidden_size))

    def forward(self, a):
        """a [B,T,H,D]: what is added to the residual stream, [B,T,d]."""
        slots, weights = self.look_up(self.query_proj(a.flatten(-2)).unflatten(-1, (self.heads, self.width)))
        return self.pool(slots.flatten(-2), weights.flatten(-2), self.values)


MEMORIES = {"factorized": MidusFactorizedMemory, "dense": MidusDenseMemory, "pkm": MidusPkmMemory}


def memory_kind(midus):
    """The name in `MEMORIES` of the memories that a config.json's section `midus` describes."""
    kind = midus.get("memory", "hml")
    if kind == "hml":
        # Without a name, as in older directories, the rank says which of the two it is.
        kind = midus.get("values") or ("factorized" if midus["value_rank"] > 0 else "dense")
    if kind not in MEMORIES:
        raise ValueError(f"config.json: this code has no memory named {kind!r}; it has {', '.join(MEMORIES)}. Code for a "
                         "value policy of one's own comes with its header, which midus then has to be built with")
    return kind


class MidusMemoryBlock(nn.Module):
    """x + memory(attention(norm(x)))."""

    def __init__(self, config, index):
        super().__init__()
        self.input_layernorm = MidusRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = MidusAttention(config, index, output_projection=False)
        self.memory = MEMORIES[memory_kind(config.midus)](config)

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
        elif isinstance(module, MidusMemory):
            module.initialise()


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

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                use_cache=None, output_hidden_states=None, output_attentions=None, return_dict=None, cache=None, **kwargs):
        if output_hidden_states is None:
            output_hidden_states = getattr(self.config, "output_hidden_states", False)
        if output_attentions is None:
            output_attentions = getattr(self.config, "output_attentions", False)
        if output_attentions:
            raise ValueError("output_attentions: a model with Memory blocks does not keep the weights of its attention")
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give input_ids or inputs_embeds")
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = self.config.use_cache if use_cache is None else use_cache
        cache = past_key_values if cache is None else cache
        if cache is None and use_cache and not self.training:
            cache = DynamicCache()
        states = [] if output_hidden_states else None
        x = self.run(x, attention_mask, position_ids, cache, states)
        output = BaseModelOutputWithPast(last_hidden_state=x, hidden_states=tuple(states) if states else None, **{CACHE: cache})
        return output if return_dict is not False else output.to_tuple()

    def run(self, x, attention_mask, position_ids, cache, states):
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
        cache = past_key_values if cache is None else cache
        base = self.model(input_ids, attention_mask, position_ids, cache, inputs_embeds, use_cache, output_hidden_states,
                          output_attentions)
        hidden = base.last_hidden_state
        kept = hidden[:, -logits_to_keep:] if isinstance(logits_to_keep, int) else hidden[:, logits_to_keep]
        logits = self.lm_head(kept)
        loss = None
        if labels is not None:  # position t predicts the label of t + 1; -100 counts nowhere
            flat = logits[:, :-1].reshape(-1, logits.shape[-1]).float()
            target = labels[:, 1:].reshape(-1).to(flat.device)
            total = F.cross_entropy(flat, target, ignore_index=-100, reduction="sum")
            loss = total / (num_items_in_batch if num_items_in_batch is not None else (target != -100).sum())
        output = CausalLMOutputWithPast(loss=loss, logits=logits, hidden_states=base.hidden_states,
                                        **{CACHE: getattr(base, CACHE)})
        return output if return_dict is not False else output.to_tuple()


# What save_pretrained copies of the code that a directory was opened with: some versions of transformers 4 only what is
# registered.
MidusConfig.register_for_auto_class()
MidusModel.register_for_auto_class("AutoModel")
MidusForCausalLM.register_for_auto_class("AutoModelForCausalLM")
