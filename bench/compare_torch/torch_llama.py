"""A training step of a Llama in PyTorch, written for speed: what midus' step is timed against.

Not test/torch/reference.py, which is written to be read: attention is scaled_dot_product_attention, norms, SiLU
and cross-entropy are PyTorch's own, AdamW is fused, gradients are set to None.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.append(str(Path(__file__).resolve().parents[2] / "test/torch"))
from checkpoint import load_model  # noqa: E402
from reference import rotary_tables  # noqa: E402


class TorchLlama:
    """A model in f32, and its optimizer. `step(ids, targets, rate)` does one update."""

    def __init__(self, directory, length, weight_decay, betas, epsilon, clip, compiled):
        model = load_model(directory, torch.float32)
        self.config, self.clip = model.config, clip
        self.weights = {name: torch.nn.Parameter(value) for name, value in model.weights.items()}
        cos, sin = rotary_tables(self.config.rope, self.config.head_dim, torch.arange(length))
        self.cos, self.sin = (torch.cat((table, table), -1).to(torch.float32) for table in (cos, sin))  # [T,D]
        groups = [{"params": [w for w in self.weights.values() if w.dim() > 1], "weight_decay": weight_decay},
                  {"params": [w for w in self.weights.values() if w.dim() == 1], "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW(groups, lr=1.0, betas=betas, eps=epsilon, fused=True)
        self.loss = torch.compile(self.forward_loss) if compiled else self.forward_loss

    def rotate(self, x):
        """x [B,heads,T,D], in Hugging Face's half-split form."""
        first, second = x.chunk(2, -1)
        return x * self.cos + torch.cat((-second, first), -1) * self.sin

    def attention(self, prefix, x):
        c, w = self.config, self.weights
        B, T, _ = x.shape
        q = F.linear(x, w[prefix + "q_proj.weight"]).view(B, T, c.num_heads, c.head_dim).transpose(1, 2)
        k = F.linear(x, w[prefix + "k_proj.weight"]).view(B, T, c.num_kv_heads, c.head_dim).transpose(1, 2)
        v = F.linear(x, w[prefix + "v_proj.weight"]).view(B, T, c.num_kv_heads, c.head_dim).transpose(1, 2)
        out = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True,
                                             enable_gqa=c.num_heads != c.num_kv_heads)
        return F.linear(out.transpose(1, 2).reshape(B, T, -1), w[prefix + "o_proj.weight"])

    def forward_loss(self, ids, targets):
        c, w = self.config, self.weights
        def norm(x, name):
            return F.rms_norm(x, (c.hidden_size,), w[name], c.rms_norm_eps)
        x = F.embedding(ids, w["model.embed_tokens.weight"])
        for i in range(c.num_layers):
            prefix = f"model.layers.{i}."
            x = x + self.attention(prefix + "self_attn.", norm(x, prefix + "input_layernorm.weight"))
            u = norm(x, prefix + "post_attention_layernorm.weight")
            gate, up = F.linear(u, w[prefix + "mlp.gate_proj.weight"]), F.linear(u, w[prefix + "mlp.up_proj.weight"])
            x = x + F.linear(F.silu(gate) * up, w[prefix + "mlp.down_proj.weight"])
        head = w["model.embed_tokens.weight" if c.tied else "lm_head.weight"]
        logits = F.linear(norm(x, "model.norm.weight"), head)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def step(self, ids, targets, rate):
        """The loss before the update."""
        self.adamw.zero_grad(set_to_none=True)
        loss = self.loss(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.clip, foreach=True)
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.adamw.step()
        return loss.item()
