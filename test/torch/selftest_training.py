"""Checks of what is around the reference, without any C++: training, files, tables, programs.

    selftest_training.py [-v]

The optimizer against torch.optim, the files against the `safetensors` package, the committed tables
against the reference, and the programs beside this file against faults that they must find (cases
TR-08, TR-12, AR-07, LD-11).
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
from pathlib import Path

import torch

import compare
from checkpoint import Model, load_model
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
from reference import IGNORED, cross_entropy, forward
from safetensors_file import read_safetensors, write_safetensors
from selftest_models import HIVE, example, normal
from tables import TABLES, largest_difference, table_configs

try:
    import safetensors.torch as safetensors_package
except ImportError:
    safetensors_package = None

HERE = Path(__file__).parent


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
