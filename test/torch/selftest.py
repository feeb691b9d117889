"""Checks of the reference itself, without any C++: who judges the judge.

    selftest.py [-v]

Derivatives against finite differences, look-ups against brute force, the invariances that follow
from the method, and numbers that were worked out elsewhere (cases AR-04, AR-10, PK-01, PK-07). What
is around the reference is checked by selftest_training.py.
"""

import math
import unittest
from dataclasses import replace

import torch

from checkpoint import Model, Rope, parse_config
from compare import relative_difference
from random_checkpoint import make_config, random_model
from reference import (
    IGNORED,
    Retrieval,
    attention_heads,
    cross_entropy,
    forward,
    headwise_memory,
    inverse_frequencies,
    loss_and_gradients,
    memory_block,
    product_key_top_k,
    rms_norm,
    rotary_tables,
    transformer_block,
)
from selftest_models import DENSE, HIVE, KINDS, MEMORIES, PKM, example, normal


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
