"""Checks of the reference itself, without any C++: who judges the judge.

    selftest.py [-v]

Derivatives against finite differences, look-ups against brute force, the invariances that follow
from the method, numbers that were worked out elsewhere (cases AR-04, AR-10, PK-01, PK-07, TR-08,
TR-12), the files against the `safetensors` package, the optimizer against torch.optim, and the
programs beside this file against faults that they must find. About half a minute.
"""

import io
import json
import math
import struct
import sys
import tempfile
import unittest
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch

import compare
from compare import draw_ids, relative_difference
from loss_curve import (
    VALUES,
    AdamW,
    Batch,
    Settings,
    clip,
    global_norm,
    learning_rate,
    loss_curve,
    parse_batches,
    read_token_file,
    trained_names,
    windows_in_order,
)
from loss_curve import main as loss_curve_main
from random_checkpoint import make_config, random_model, write_checkpoint
from reference import (
    IGNORED,
    Model,
    Retrieval,
    Rope,
    attention_heads,
    cross_entropy,
    forward,
    headwise_memory,
    inverse_frequencies,
    load_model,
    loss_and_gradients,
    memory_block,
    parse_config,
    product_key_top_k,
    rms_norm,
    rotary_tables,
    transformer_block,
)
from safetensors_file import read_safetensors, write_safetensors
from tables import TABLES, largest_difference, table_configs

try:
    import safetensors.torch as safetensors_package
except ImportError:
    safetensors_package = None

HERE = Path(__file__).parent
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


class Gradients(unittest.TestCase):
    def test_finite_differences(self) -> None:
        """Along two random directions per tensor, the central difference equals the gradient."""
        for kind, flags in KINDS.items():
            model, batch = example(flags)
            result = loss_and_gradients(model, batch.ids, batch.targets)
            for seed, (name, gradient) in enumerate(result.gradients.items()):
                with self.subTest(kind=kind, name=name):
                    for direction in (normal(*gradient.shape, seed=s) for s in (seed, seed + 99)):
                        step = 1e-5 / direction.norm()
                        losses = []
                        for sign in (1, -1):
                            moved = {name: model.weights[name] + sign * step * direction}
                            logits = forward(Model(model.config, model.weights | moved), batch.ids)
                            losses.append(cross_entropy(logits, batch.targets))
                        found = (losses[0] - losses[1]) / (2 * step)
                        expected = (gradient * direction).sum()
                        largest = gradient.norm() * direction.norm()
                        self.assertLess(abs(found - expected), 1e-6 * largest)

    def test_zero_values(self) -> None:
        """A new up-scaled model computes the base's logits, and only its values get a gradient."""
        for kind, flags in MEMORIES.items():
            with self.subTest(kind=kind):
                model, batch = example(flags, zero_values=True)
                base = Model(replace(model.config, memory=None), model.weights)
                self.assertTrue(torch.equal(forward(model, batch.ids), forward(base, batch.ids)))
                gradients = loss_and_gradients(model, batch.ids, batch.targets).gradients
                for name, gradient in gradients.items():
                    alive = "memory_blocks" not in name or name.endswith("values")
                    self.assertEqual(bool(gradient.any()), alive, name)

    def test_one_slot_trains_no_keys(self) -> None:
        """PK-03: with k = 1 keys, queries and all that leads to them get exactly nothing."""
        model, batch = example(HIVE | {"top_k": 1})
        for name, gradient in loss_and_gradients(model, batch.ids, batch.targets).gradients.items():
            alive = "memory_blocks" not in name or name.endswith(("values", "value_proj"))
            self.assertEqual(bool(gradient.any()), alive, name)

    def test_untouched_rows(self) -> None:
        """Rows of the bank that were not retrieved have a gradient of exactly zero, others not."""
        model, batch = example(HIVE | {"num_keys": 12})
        result = loss_and_gradients(model, batch.ids, batch.targets)
        for j, slots in enumerate(result.retrieval.slots):
            touched = torch.zeros(144, dtype=torch.bool)
            touched[slots.flatten()] = True
            self.assertTrue(0 < touched.sum() < 144)
            rows = result.gradients[f"model.memory_blocks.{j}.memory.values"].abs().sum(-1)
            self.assertTrue(torch.equal(rows > 0, touched))

    def test_ignored_targets(self) -> None:
        """The mean is over the counted targets alone; another id may mark the others."""
        logits, targets = normal(2, 5, 11), torch.arange(10).view(2, 5)
        marked = targets.masked_fill(targets % 3 == 0, IGNORED)
        rows = [-logits.view(10, 11)[t].log_softmax(-1)[t] for t in range(10) if t % 3]
        expected = sum(rows) / len(rows)
        self.assertAlmostEqual(cross_entropy(logits, marked).item(), expected.item(), places=14)
        other = marked.masked_fill(marked == IGNORED, 0)
        self.assertEqual(
            cross_entropy(logits, other, ignore_index=0), cross_entropy(logits, marked)
        )

    def test_batch_split(self) -> None:
        """A batch's gradients are the means of its parts', weighted by the counted targets."""
        model, batch = example(HIVE)
        whole = loss_and_gradients(model, batch.ids, batch.targets)
        parts = [
            loss_and_gradients(model, batch.ids[b : b + 1], batch.targets[b : b + 1])
            for b in (0, 1)
        ]
        counted = (batch.targets != IGNORED).double()
        shares = counted.sum(1) / counted.sum()
        for name, gradient in whole.gradients.items():
            mean = sum(part.gradients[name] * c for part, c in zip(parts, shares, strict=True))
            self.assertLess(relative_difference(mean, gradient), 1e-12)


class Retrievals(unittest.TestCase):
    def brute_force(self, row: list[float], col: list[float], k: int) -> list[int]:
        """All n² sums in order: by score, then by the ranks in the two sorted lists."""
        n = range(len(row))
        row_rank = {i: rank for rank, i in enumerate(sorted(n, key=lambda i: (-row[i], i)))}
        col_rank = {i: rank for rank, i in enumerate(sorted(n, key=lambda i: (-col[i], i)))}
        pairs = [
            (-(row[i] + col[j]), row_rank[i], col_rank[j], i * len(row) + j) for i in n for j in n
        ]
        return [pair[-1] for pair in sorted(pairs)[:k]]

    def test_brute_force(self) -> None:
        """Scores and slots, on distinct scores and on small integers that are full of ties."""
        generator = torch.Generator().manual_seed(0)
        for n in (1, 2, 3, 5, 8):
            for k in range(1, n + 1):
                for highest in (1, 2, 4, 2**20):
                    row, col = torch.randint(highest, (2, 6, n), generator=generator).double()
                    scores, slots = product_key_top_k(row, col, k)
                    for t in range(len(row)):
                        expected = self.brute_force(row[t].tolist(), col[t].tolist(), k)
                        self.assertEqual(slots[t].tolist(), expected, (n, k, row[t], col[t]))
                    sums = row[:, :, None] + col[:, None, :]
                    self.assertTrue(torch.equal(scores, sums.flatten(1).topk(k).values))

    def test_known_ties(self) -> None:
        """PK-01."""

        def slots(row: list[float], col: list[float], k: int) -> list[int]:
            return product_key_top_k(torch.tensor(row), torch.tensor(col), k)[1].tolist()

        zero_scores, zero_slots = product_key_top_k(torch.zeros(4), torch.zeros(4), 2)
        self.assertEqual(zero_slots.tolist(), [0, 1])
        self.assertEqual(zero_scores.softmax(-1).tolist(), [0.5, 0.5])
        self.assertEqual(slots([5, 5, 5, 1], [2, 2, 0, 0], 2), [0, 1])
        self.assertEqual(slots([0.0, -0.0, 0.0], [-0.0, 0.0, -0.0], 3), [0, 1, 2])
        side, far = [1, 2, 5, 4, 5], [0, -100, -100, -100, -100]  # the columns leave no choice
        for k, expected in enumerate(
            ([2], [2, 4], [2, 4, 3], [2, 4, 3, 1], [2, 4, 3, 1, 0]), start=1
        ):
            self.assertEqual(slots(side, far, k), [5 * i for i in expected])

    def test_constant_on_one_half(self) -> None:
        """Adding a constant to one half's scores changes neither slots nor weights."""
        row, col = normal(2, 50, 9)
        scores, slots = product_key_top_k(row, col, 4)
        moved_scores, moved_slots = product_key_top_k(row + 3, col, 4)
        self.assertTrue(torch.equal(slots, moved_slots))
        self.assertTrue(torch.allclose(scores.softmax(-1), moved_scores.softmax(-1), atol=1e-14))

    def test_gap(self) -> None:
        """The gap is that between the k-th and the next of all n² sums."""
        for n, k in ((4, 2), (3, 3), (5, 1)):
            row, col = normal(2, n, seed=n)
            watch = Retrieval()
            product_key_top_k(row, col, k, watch)
            sums = (row[:, None] + col[None, :]).flatten().sort(descending=True).values
            self.assertAlmostEqual(watch.smallest_gap, (sums[k - 1] - sums[k]).item(), places=14)


class Invariances(unittest.TestCase):
    def test_causality(self) -> None:
        """A later token changes no earlier logit, and does change its own."""
        for kind, flags in KINDS.items():
            with self.subTest(kind=kind):
                model, batch = example(flags)
                before = forward(model, batch.ids)
                changed = batch.ids.clone()
                changed[:, 4] = (changed[:, 4] + 1) % model.config.vocab_size
                after = forward(model, changed)
                self.assertLess((after - before)[:, :4].abs().max(), 1e-13)
                self.assertGreater((after - before)[:, 4:].abs().amax((0, 2)).min(), 1e-3)

    def test_permuted_sub_keys(self) -> None:
        """Sub-keys permuted together with their slots change nothing."""
        n = 5
        for kind, flags in MEMORIES.items():
            with self.subTest(kind=kind):
                model, batch = example(flags)
                rows, cols = torch.tensor([3, 1, 4, 0, 2]), torch.tensor([1, 2, 3, 4, 0])
                slots = (rows[:, None] * n + cols[None, :]).flatten()
                moved = dict(model.weights)
                for prefix in ("model.memory_blocks.0.memory.", "model.memory_blocks.1.memory."):
                    moved[prefix + "row_keys"] = moved[prefix + "row_keys"][:, rows]
                    moved[prefix + "col_keys"] = moved[prefix + "col_keys"][:, cols]
                    moved[prefix + "values"] = moved[prefix + "values"][..., slots, :]
                found = forward(Model(model.config, moved), batch.ids)
                self.assertLess(relative_difference(found, forward(model, batch.ids)), 1e-13)

    def test_permuted_heads(self) -> None:
        """The heads of a memory are independent: permuted, they give the permuted read."""
        heads = torch.tensor([2, 0, 3, 1])
        for flags in (HIVE, DENSE):
            model, _ = example(flags)
            prefix = "model.memory_blocks.0.memory."
            moved = dict(model.weights)
            for name in ("row_keys", "col_keys", "values" if flags is DENSE else "value_proj"):
                moved[prefix + name] = moved[prefix + name][heads]
            a = normal(2, 7, 4, 4)
            plain = headwise_memory(model.config, model.weights, prefix, a).unflatten(-1, (4, 4))
            found = headwise_memory(model.config, moved, prefix, a[:, :, heads])
            self.assertTrue(torch.allclose(found.unflatten(-1, (4, 4)), plain[:, :, heads]))

    def test_value_policies(self) -> None:
        """Pooling before the projection equals a dense bank of projected values, for any H."""
        for heads in (1, 4):
            hive, _ = example(HIVE | {"heads": heads, "kv_heads": 1})
            prefix = "model.memory_blocks.0.memory."
            bank, projection = hive.weights[prefix + "values"], hive.weights[prefix + "value_proj"]
            projected = torch.einsum("sr,hrd->hsd", bank, projection)
            config = replace(hive.config, memory=replace(hive.config.memory, value_rank=0))
            dense = hive.weights | {prefix + "values": projected}
            a = normal(2, 7, heads, 16 // heads)
            pooled = headwise_memory(hive.config, hive.weights, prefix, a)
            self.assertTrue(torch.allclose(pooled, headwise_memory(config, dense, prefix, a)))

    def test_pkm_by_hand(self) -> None:
        """A PKM block written out in loops over tokens, heads and all n² slots."""
        model, _ = example(PKM)
        config, w = model.config, {
            name.removeprefix("model.memory_blocks.0."): tensor
            for name, tensor in model.weights.items()
        }
        n, k, E = config.memory.num_keys, config.memory.top_k, config.memory.query_dim
        H, D, eps = config.num_heads, config.head_dim, config.rms_norm_eps
        x = normal(1, 4, 10)
        u = [row / math.sqrt(row.pow(2).mean() + eps) * w["input_layernorm.weight"] for row in x[0]]
        omega = inverse_frequencies(config.rope, D)

        def projected(which: str, t: int, h: int, turned: bool) -> torch.Tensor:
            if which != "q":
                h //= H // config.num_kv_heads
            y = (w[f"self_attn.{which}_proj.weight"] @ u[t])[h * D : (h + 1) * D]
            if not turned:
                return y
            pairs = torch.complex(y[: D // 2], y[D // 2 :]) * torch.exp(1j * t * omega)
            return torch.cat((pairs.real, pairs.imag))

        for t in range(4):
            a = []
            for h in range(H):
                q = projected("q", t, h, True)
                scores = [q @ projected("k", s, h, True) / math.sqrt(D) for s in range(t + 1)]
                share = torch.stack(scores).softmax(0)
                a.append(sum(share[s] * projected("v", s, h, False) for s in range(t + 1)))
            query = w["memory.query_proj.weight"] @ torch.cat(a)
            read = torch.zeros(10, dtype=torch.float64)
            for m in range(config.memory.memory_heads):
                q_row, q_col = query[m * E : m * E + E // 2], query[m * E + E // 2 : (m + 1) * E]
                rows, cols = w["memory.row_keys"][m], w["memory.col_keys"][m]
                sums = {
                    i * n + j: rows[i] @ q_row + cols[j] @ q_col for i in range(n) for j in range(n)
                }
                best = sorted(sums, key=lambda slot: -sums[slot])[:k]
                share = torch.stack([sums[slot] for slot in best]).softmax(0)
                read += sum(share[i] * w["memory.values"][slot] for i, slot in enumerate(best))
            found = memory_block(config, model.weights, "model.memory_blocks.0.", x)[0, t]
            self.assertTrue(torch.allclose(found, x[0, t] + read, rtol=0, atol=1e-13))

    def test_transformer_block(self) -> None:
        """Attention with its output projection, then SwiGLU with torch's silu, on residuals."""
        model, _ = example({})
        prefix, w = "model.layers.1.", model.weights
        x = normal(2, 5, 16)
        u = rms_norm(x, w[prefix + "input_layernorm.weight"], 1e-5)
        a = attention_heads(model.config, w, prefix, u).reshape(2, 5, 16)
        expected = x + torch.einsum("btj,ij->bti", a, w[prefix + "self_attn.o_proj.weight"])
        u = rms_norm(expected, w[prefix + "post_attention_layernorm.weight"], 1e-5)
        gate, up, down = (w[f"{prefix}mlp.{part}_proj.weight"] for part in ("gate", "up", "down"))
        expected = expected + (torch.nn.functional.silu(u @ gate.T) * (u @ up.T)) @ down.T
        found = transformer_block(model.config, w, prefix, x)
        self.assertTrue(torch.allclose(found, expected, rtol=0, atol=1e-13))

    def test_positions(self) -> None:
        """Memory block j comes just before layer positions[j]."""
        model, batch = example({"layers": 3, "positions": (0, 2)})
        config, w = model.config, model.weights
        x = w["model.embed_tokens.weight"][batch.ids]
        x = memory_block(config, w, "model.memory_blocks.0.", x)
        x = transformer_block(config, w, "model.layers.0.", x)
        x = transformer_block(config, w, "model.layers.1.", x)
        x = memory_block(config, w, "model.memory_blocks.1.", x)
        x = transformer_block(config, w, "model.layers.2.", x)
        logits = rms_norm(x, w["model.norm.weight"], 1e-5) @ w["lm_head.weight"].T
        self.assertTrue(torch.equal(forward(model, batch.ids), logits))

    def test_smallest_shapes(self) -> None:
        """n = 1, k = 1, k = n, T = 1, B = 1 work; k > n and odd widths are refused."""
        for flags in (HIVE | {"num_keys": 1, "top_k": 1}, DENSE | {"top_k": 5}, PKM | {"top_k": 1}):
            model = random_model(make_config(**flags))
            self.assertTrue(forward(model, torch.tensor([[3]])).isfinite().all())
        for flags in (
            HIVE | {"top_k": 6},
            HIVE | {"hidden_size": 12},
            PKM | {"pkm": (3, 5)},
            HIVE | {"head_dim": 6},
            HIVE | {"positions": (1, 0)},
            HIVE | {"positions": (2,)},
        ):
            with self.assertRaises(ValueError):
                parse_config(make_config(**flags))


class Rotary(unittest.TestCase):
    def test_known_numbers(self) -> None:
        """AR-04 and AR-10."""
        for factor, expected in ((8, 7.784655e-05), (32, 1.946164e-05)):
            omega = inverse_frequencies(Rope(500000.0, True, factor, 1.0, 4.0, 8192), 64)
            self.assertAlmostEqual(omega[18].item() / expected, 1, places=6)
        for dtype in (torch.int64, torch.float32):
            cos, _ = rotary_tables(Rope(10000.0), 64, torch.tensor([15962], dtype=dtype))
            self.assertAlmostEqual(cos[0, 0].item(), -0.90801590, places=8)

    def test_three_kinds_of_frequencies(self) -> None:
        """High ones stay, low ones are divided, those between are mixed."""
        plain = inverse_frequencies(Rope(10000.0), 8)
        ratio = inverse_frequencies(Rope(10000.0, True, 8.0, 1.0, 4.0, 64), 8) / plain
        s = (64 / (2 * math.pi / 0.1) - 1) / 3
        expected = torch.tensor([1, (1 - s) / 8 + s, 1 / 8, 1 / 8], dtype=torch.float64)
        self.assertTrue(torch.allclose(ratio, expected, rtol=1e-14))

    def test_every_field_matters(self) -> None:
        """AR-04: each number of the configuration that is no size changes the logits."""
        config = make_config(**HIVE | {"head_dim": 8, "hidden_size": 32})
        model, ids = random_model(config), torch.arange(32)[None, :].repeat(1, 2)

        def logits(**changes: object) -> torch.Tensor:
            scaling = {**config["rope_scaling"], **changes}
            top = {
                key: scaling.pop(key) for key in ("rope_theta", "rms_norm_eps") if key in scaling
            }
            changed = parse_config({**config, **top, "rope_scaling": scaling})
            return forward(Model(changed, model.weights), ids)

        plain = logits()
        for field, value in (
            ("factor", 16.0),
            ("low_freq_factor", 1.5),
            ("high_freq_factor", 3.0),
            ("original_max_position_embeddings", 50),
            ("rope_theta", 20000.0),
            ("rms_norm_eps", 1e-4),
        ):
            self.assertGreater(relative_difference(logits(**{field: value}), plain), 1e-7, field)

    def test_spellings(self) -> None:
        """AR-02, AR-06: old and new keys mean the same, null is absent, the unknown is refused."""
        config = make_config(llama3=True)
        scaling = config["rope_scaling"]
        old = {("type" if key == "rope_type" else key): value for key, value in scaling.items()}
        nested = {k: v for k, v in config.items() if k not in ("rope_scaling", "rope_theta")}
        nested["rope_parameters"] = {**scaling, "rope_theta": 10000.0}
        expected = parse_config(config)
        for variant in ({**config, "rope_scaling": old}, nested):
            self.assertEqual(parse_config(variant), expected)
        plain = parse_config(make_config(kv_heads=4))
        for changes in (
            {"rope_scaling": {"rope_type": "default"}},
            {"head_dim": None, "num_key_value_heads": None, "sliding_window": None},
        ):
            self.assertEqual(parse_config(make_config(kv_heads=4) | changes), plain)
        for changes in (
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            {"attention_bias": True},
            {"rope_scaling": {**scaling, "type": "yarn"}},
            {"hidden_act": "gelu"},
            {"rope_scaling": {**scaling, "low_freq_factor": 4.0}},
            {"sliding_window": 9},
        ):
            with self.assertRaises(ValueError):
                parse_config(make_config() | changes)


class Training(unittest.TestCase):
    def test_known_rows(self) -> None:
        """PK-07: dense AdamW keeps moving a row that was hit once."""
        optimizer = AdamW(Settings(weight_decay=0.1))
        weights = {"w": torch.ones(1, 1, dtype=torch.float64)}
        for gradient, expected in ((0.5, 0.8900000020), (0.0, 0.8132352292), (0.0, 0.7519649101)):
            optimizer.step(weights, {"w": torch.full((1, 1), gradient, dtype=torch.float64)}, 0.1)
            self.assertAlmostEqual(weights["w"].item(), expected, places=10)

    def test_decay(self) -> None:
        """TR-08: a zero gradient decays a matrix by 0.99 a step, and no norm and no values."""
        names = {"a.weight": (2, 3), "a.norm.weight": (3,), "b.memory.values": (4, 2)}
        weights = {name: torch.ones(shape, dtype=torch.float64) for name, shape in names.items()}
        optimizer = AdamW(Settings(weight_decay=0.1))
        for _ in range(10):
            gradients = {
                name: torch.zeros(shape, dtype=torch.float64) for name, shape in names.items()
            }
            optimizer.step(weights, gradients, 0.1)
        self.assertAlmostEqual(weights["a.weight"][0, 0].item(), 0.9043821, places=7)
        self.assertTrue((weights["a.norm.weight"] == 1).all())
        self.assertTrue((weights["b.memory.values"] == 1).all())

    def test_clip(self) -> None:
        """TR-12: (3,4) has norm 5 and is scaled by 0.2; the values may be their own group."""
        gradients = {"w": torch.tensor([3.0, 4.0]), "b.memory.values": torch.tensor([[12.0]])}
        self.assertEqual(global_norm({"w": gradients["w"]}), 5)
        self.assertEqual(
            clip({"w": gradients["w"]}, Settings())["w"].tolist(), (gradients["w"] * 0.2).tolist()
        )
        self.assertAlmostEqual(global_norm(clip(gradients, Settings())), 1, places=6)
        apart = clip(gradients, Settings(values_clip_norm=0.5))
        self.assertAlmostEqual(global_norm({"w": apart["w"]}), 1, places=6)
        self.assertAlmostEqual(apart["b.memory.values"].item(), 0.5, places=6)
        small = {"w": torch.tensor([0.3, 0.4])}
        self.assertTrue(torch.equal(clip(small, Settings())["w"], small["w"]))

    def test_schedule(self) -> None:
        """Linear up to the peak, cosine down to the floor, half-way at half the way."""
        s = Settings(steps=20, warmup_steps=4, learning_rate=1.0, floor=0.2)
        rates = [learning_rate(s, step) for step in range(1, 21)]
        self.assertEqual(rates[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
        self.assertAlmostEqual(rates[12], 0.6, places=14)
        self.assertAlmostEqual(learning_rate(s, 21), 0.2, places=14)

    def test_against_torch(self) -> None:
        """20 steps by torch.optim.AdamW with parameter groups and LambdaLR."""
        for train, own_clip in (("everything", None), ("inserted", 0.05)):
            with self.subTest(train=train):
                model, batch = example(HIVE)
                s = Settings(values_rate_scale=5.0, values_clip_norm=own_clip, clip_norm=0.5)
                names = trained_names(model.config, model.weights, [train])
                batches = [Batch(batch.ids.roll(i, 1), batch.targets.roll(i, 1)) for i in range(20)]
                curve = loss_curve(model, batches, s, names)
                weights, losses = self.torch_optim(model, batches, s, names)
                for step, loss in zip(curve.steps, losses, strict=True):
                    self.assertAlmostEqual(step.loss, loss, delta=1e-12)
                for name, tensor in curve.weights.items():
                    self.assertLess((tensor - weights[name]).abs().max(), 1e-10, name)
                    moved = not torch.equal(tensor, model.weights[name])
                    self.assertEqual(moved, name in names, name)

    def torch_optim(
        self, model: Model, batches: list[Batch], s: Settings, names: list[str]
    ) -> tuple[dict[str, torch.Tensor], list[float]]:
        """The same run by torch's own optimizer and schedule, clipped by torch's norms."""
        weights = {name: tensor.clone() for name, tensor in model.weights.items()}
        trained = {name: weights[name].requires_grad_() for name in names}
        values = [w for name, w in trained.items() if name.endswith(VALUES[1:])]
        norms = [w for w in trained.values() if w.dim() == 1]
        rest = [w for name, w in trained.items() if w.dim() > 1 and not name.endswith(VALUES[1:])]
        scaled = s.learning_rate * s.values_rate_scale
        optimizer = torch.optim.AdamW(
            [
                {"params": rest},
                {"params": norms, "weight_decay": 0.0},
                {"params": values, "weight_decay": 0.0, "lr": scaled},
            ],
            lr=s.learning_rate,
            betas=(s.beta1, s.beta2),
            eps=s.epsilon,
            weight_decay=s.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: learning_rate(s, done + 1) / s.learning_rate
        )
        losses = []
        for batch in batches:
            loss = cross_entropy(forward(Model(model.config, weights), batch.ids), batch.targets)
            optimizer.zero_grad()
            loss.backward()
            own = s.values_clip_norm is not None
            groups = [rest + norms, values] if own else [list(trained.values())]
            for group, largest in zip(groups, (s.clip_norm, s.values_clip_norm), strict=False):
                norm = torch.nn.utils.clip_grad_norm_(group, math.inf)
                for weight in group:  # torch would add 1e-6 to the norm
                    weight.grad *= (largest / norm).clamp(max=1)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        return {name: weight.detach() for name, weight in weights.items()}, losses

    def test_token_file(self) -> None:
        """Windows in order, from the start again at the end; weight 0 makes a target ignored."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokens.bin"
            for width, code in ((2, "H"), (4, "I")):
                header = struct.pack("<8sIIQQI", b"MIDUSTOK", 1, width, 9, 300, 1).ljust(128, b"\0")
                tokens = struct.pack(f"<9{code}", *range(100, 109))
                path.write_bytes(header + tokens + bytes([1, 1, 0, 1, 1, 1, 1, 1, 1]))
                batch, again = windows_in_order(read_token_file(path), 2, 4, 2)
                self.assertEqual(batch.ids.tolist(), [[100, 101, 102, 103], [104, 105, 106, 107]])
                self.assertEqual(
                    batch.targets.tolist(), [[101, IGNORED, 103, 104], [105, 106, 107, 108]]
                )
                self.assertTrue(torch.equal(batch.ids, again.ids))
            path.write_bytes(path.read_bytes() + b"\0")
            with self.assertRaises(ValueError):
                read_token_file(path)
            path.write_bytes(
                header.replace(struct.pack("<Q", 300), struct.pack("<Q", 108)) + tokens + bytes(9)
            )
            with self.assertRaises(ValueError):
                read_token_file(path)


class Files(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def test_dtypes_and_shards(self) -> None:
        """Every dtype reads as what was rounded to it; shards read as one file does."""
        config = make_config(**HIVE)
        model = random_model(config)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            for shards in (1, 3):
                directory = self.path / f"{dtype}-{shards}"
                write_checkpoint(directory, config, model.weights, dtype, shards)
                loaded = load_model(directory)
                self.assertEqual(loaded.config, model.config)
                self.assertEqual(loaded.weights.keys(), model.weights.keys())
                for name, tensor in model.weights.items():
                    self.assertTrue(torch.equal(loaded.weights[name], tensor.to(dtype).double()))

    def test_tied_head_and_strays(self) -> None:
        """AR-07, LD-11: rotary tables and a tied head's copy are ignored, others refused."""
        config = make_config(tied=True)
        model = random_model(config)
        copy = {
            "lm_head.weight": torch.full((32, 16), 7.0),
            "model.layers.0.self_attn.rotary_emb.inv_freq": torch.full((2,), 7.0),
        }
        write_checkpoint(self.path, config, model.weights | copy)
        self.assertEqual(load_model(self.path).weights.keys(), model.weights.keys())
        for stray in ("model.layers.0.foo.weight", "model.layers.2.input_layernorm.weight"):
            write_checkpoint(self.path, config, model.weights | {stray: torch.ones(16)})
            with self.assertRaisesRegex(ValueError, stray):
                load_model(self.path)
        write_checkpoint(self.path, config | {"tie_word_embeddings": None}, model.weights)
        with self.assertRaisesRegex(ValueError, "lm_head"):
            load_model(self.path)

    @unittest.skipUnless(safetensors_package, "no package safetensors")
    def test_second_judge(self) -> None:
        """The package reads what we write, and we what it writes, scalars and empty ones too."""
        tensors = {
            "a": normal(3, 5),
            "b": normal(4).float(),
            "c": normal(2, 2).bfloat16(),
            "d": normal(7).half(),
            "scalar": torch.tensor(2.0),
            "empty": torch.zeros(0, 3),
        }
        write_safetensors(self.path / "ours", tensors)
        safetensors_package.save_file(tensors, self.path / "theirs")
        for loaded in (
            safetensors_package.load_file(self.path / "ours"),
            read_safetensors(self.path / "theirs"),
            read_safetensors(self.path / "ours"),
        ):
            self.assertEqual(loaded.keys(), tensors.keys())
            for name, tensor in tensors.items():
                self.assertEqual(loaded[name].dtype, tensor.dtype)
                self.assertTrue(torch.equal(loaded[name], tensor), name)


class Tables(unittest.TestCase):
    def test_tables_are_current(self) -> None:
        """The committed tables are what the reference gives today."""
        for name in table_configs():
            self.assertLess(largest_difference(TABLES / name), 1e-11, name)


class Programs(unittest.TestCase):
    """compare.py and loss_curve.py pass what is right, and find what is wrong."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def run_main(self, main: Callable[[list[str]], int], *arguments: object) -> tuple[int, str]:
        """A program's exit status and all that it printed."""
        text = io.StringIO()
        with redirect_stdout(text), redirect_stderr(text):
            code = main([str(argument) for argument in arguments])
        return code, text.getvalue()

    def compare(self, script: str, *options: str) -> tuple[int, str]:
        """Runs compare.py on the hive table, with a shell script in the place of our program."""
        program, table = self.path / "program", TABLES / "hive"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        inputs = ("--ids", table / "ids.json", "--targets", table / "targets.json")
        return self.run_main(compare.main, program, table, *inputs, *options)

    def test_compare_passes(self) -> None:
        """The reference's own command line, in float32 and in double, is within the bounds."""
        for options in ((), ("--double",)):
            code, text = self.compare(f'exec {sys.executable} {HERE}/reference.py "$@"', *options)
            self.assertEqual(code, 0, text)

    def test_compare_finds(self) -> None:
        """Each fault by its name: wrong numbers or dtypes, gradients missing or too many."""
        result = TABLES / "hive" / "expected.safetensors"
        right = {name: tensor.float() for name, tensor in read_safetensors(result).items()}
        values = "grad.model.memory_blocks.0.memory.values"
        moved = right[values].clone()
        moved[3, 2] += 1e-4 * moved.abs().max()
        faults = {
            "passed": {},
            "logits differs by": {"logits": right["logits"] * 1.0001},
            "loss differs by": {"loss": right["loss"] + 1e-4},
            "--out holds ['logits']": {"loss": None},
            "logits is torch.float64, expected torch.float32": {"logits": right["logits"].double()},
            "missing: ['model.memory_blocks.0.memory.values']": {values: None},
            "model.memory_blocks.0.memory.values differs by": {values: moved},
            "model.norm.weight differs by inf": {"grad.model.norm.weight": torch.ones(16) / 0},
            "of no parameter: ['lm_head.weight']": {"grad.lm_head.weight": torch.ones(31, 16)},
        }
        for expected, change in faults.items():
            with self.subTest(expected=expected):
                written = {k: v for k, v in (right | change).items() if v is not None}
                gradients = {k[5:]: v for k, v in written.items() if k.startswith("grad.")}
                out = {k: v for k, v in written.items() if not k.startswith("grad.")}
                write_safetensors(self.path / "gradients", gradients)
                write_safetensors(self.path / "out", out)
                write_safetensors(self.path / "alone", {"logits": out["logits"]})
                # $5 is the FILE of --out and $9 that of --gradients.
                code, text = self.compare(f"""cd {self.path}
                    if [ $# = 5 ]; then cp alone "$5"; exit; fi
                    cp gradients "$9" && cp out "$5"
                    """)
                self.assertEqual(code, 0 if expected == "passed" else 1, text)
                self.assertIn(expected, text)

    def test_loss_curve(self) -> None:
        """A run in float32 is within the bounds; another decay, a moved frozen weight are found."""
        table, log, final = TABLES / "hive", self.path / "log", self.path / "final"
        content = json.loads((table / "curve.json").read_text())
        (self.path / "batches.json").write_text(json.dumps(content["batches"]))
        command: list[object] = [table, "--batches", self.path / "batches.json", "--log", log]
        for key, value in content["settings"].items():
            command += ["--" + key.replace("_", "-"), value]

        model = load_model(table)
        trained = trained_names(model.config, model.weights, [content["train"]])
        settings, batches = Settings(**content["settings"]), parse_batches(content["batches"])
        model.weights = {name: w.float().double() for name, w in model.weights.items()}
        curve = loss_curve(model, batches, settings, trained, torch.float32)
        log.write_text("".join(json.dumps(vars(step)) + "\n" for step in curve.steps))
        json_config = json.loads((table / "config.json").read_text())
        write_checkpoint(final, json_config, curve.weights)
        code, text = self.run_main(loss_curve_main, *command, "--final", final)
        self.assertEqual(code, 0, text)

        code, text = self.run_main(loss_curve_main, *command, "--weight-decay", 0.2)
        self.assertEqual(code, 1, text)
        self.assertIn("loss differs", text)
        curve.weights["model.norm.weight"][3] *= 1.0001
        write_checkpoint(final, json_config, curve.weights)
        code, text = self.run_main(loss_curve_main, *command, "--final", final)
        self.assertEqual(code, 1, text)
        self.assertIn("model.norm.weight is frozen, but has changed", text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
