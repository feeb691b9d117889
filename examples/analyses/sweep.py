"""How the loss after continued pre-training depends on n, k, r and the places of the Memory blocks.

The first value of --num-keys, --top-k, --value-rank and --positions is the centre; every other value is tried with the
centre's for the rest. Every variant is up-scaled from BASE, its programs are built, and its inserted blocks are trained
on the same batches. OUT gets results.jsonl, results.md and pictures, anew after each variant; variants that are done
are skipped, so an interrupted sweep goes on with the same command, and one with more values keeps what is there.
"""

import argparse
import json
import math
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(EXAMPLES / "quickstart"))

import plots
import report
from programs import run

AXES = {"num_keys": "n (sub-keys per side)", "top_k": "k (slots read per query)", "value_rank": "r (rank of the values)",
        "positions": "placement (blocks before these layers)"}


def fail(*parts):
    sys.exit("sweep.sh: " + "".join(map(str, parts)))


@dataclass(frozen=True)
class Variant:
    """What is inserted."""

    num_keys: int
    top_k: int
    value_rank: int
    positions: tuple

    @property
    def name(self):
        return f"n{self.num_keys}-k{self.top_k}-r{self.value_rank}-at{'.'.join(map(str, self.positions))}"

    @property
    def placement(self):
        return ",".join(map(str, self.positions))

    def upscale_options(self):
        return ["--policy", "midus", "--positions", self.placement, "--num-keys", self.num_keys, "--top-k", self.top_k,
                "--value-rank", self.value_rank]


class Sweep:
    """The stages. `self.out` holds all that they make."""

    def __init__(self, options):
        self.options = options
        self.out = options.out.resolve()
        layers = self.base_layers()
        self.values = {"num_keys": options.num_keys, "top_k": options.top_k, "value_rank": options.value_rank,
                       "positions": options.positions or default_positions(layers)}
        self.centre = Variant(**{axis: values[0] for axis, values in self.values.items()})
        self.variants = list(dict.fromkeys(
            [self.centre] + [replace(self.centre, **{axis: value}) for axis in AXES for value in self.values[axis]]))
        for variant in self.variants:
            self.check(variant, layers)
        weighted = [given.rpartition("=")[0] or given for given in options.data]  # FILE=WEIGHT
        for file, given in [*zip(weighted, options.data), *((file, file) for file in self.texts().values())]:
            if not Path(file).is_file() and not Path(given).is_file():
                fail("there is no token file ", file, " (see prepare)")
        if options.steps < 1:
            fail("--steps must be at least 1, found ", options.steps)

    def base_layers(self):
        path = self.options.base / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            fail("cannot read ", path, ": ", error.strerror, "; BASE is the directory of a base model")
        except ValueError as error:
            fail(path, ": expected the config.json of a base model, found no JSON: ", error)
        layers = config.get("num_hidden_layers") if isinstance(config, dict) else None
        if layers is None:
            fail(path, ": expected the config.json of a base model, found no num_hidden_layers")
        if "midus" in config:
            fail(path, ": expected a base model, found one with Memory blocks; `detach` takes them off")
        if not isinstance(layers, int) or layers < 1:
            fail(path, ": num_hidden_layers must be an integer from 1, found ", layers)
        return layers

    @staticmethod
    def check(variant, layers):
        for name in ("num_keys", "top_k", "value_rank"):
            if getattr(variant, name) < 1:
                fail("--", name.replace("_", "-"), " must be at least 1, found ", getattr(variant, name))
        if variant.top_k > variant.num_keys:
            fail("k must not exceed n, found ", variant.name, ": change the first value of --num-keys or --top-k, or the list")
        if list(variant.positions) != sorted(set(variant.positions)) or not 0 <= variant.positions[0] <= variant.positions[-1] < layers:
            fail("--positions must be ascending layers of the base, from 0 to ", layers - 1, ", found ", variant.placement)

    def texts(self):
        """The evaluated token files, by name."""
        texts = {}
        for given in self.options.eval:
            name, equals, file = given.partition("=")
            if not (re.fullmatch(r"[\w.-]+", name) and equals and file):
                fail('--eval: expected NAME=FILE with a name of letters, digits and -_. alone, found "', given, '"')
            if name in texts:
                fail('--eval: two files have the name "', name, '"')
            texts[name] = file
        return texts

    def keep_settings(self):
        """Refuses to mix variants that were trained differently in one folder."""
        options = self.options
        settings = {"base": str(options.base.resolve()), "data": options.data, "eval": options.eval, "steps": options.steps,
                    "learning_rate": options.learning_rate, "rate_scale": options.rate_scale, "batch": options.batch,
                    "length": options.length, "seed": options.seed, "key_spread": options.key_spread}
        path = self.out / "settings.json"
        self.out.mkdir(parents=True, exist_ok=True)
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != settings:
            fail(path, ": this folder was made with other settings; choose another --out, or remove it")
        write(path, json.dumps(settings, indent=1) + "\n")

    # --- stages

    def model(self, variant):
        """BASE with the variant's blocks. That its logits are the base's shows below, in the loss before the first step."""
        model = self.out / "models" / variant.name
        if not model.exists():
            model.parent.mkdir(exist_ok=True)
            spread = [] if self.options.key_spread is None else ["--key-spread", self.options.key_spread]
            run(["upscale", self.options.base, model, *variant.upscale_options(), *spread, "--seed", self.options.seed,
                 "--no-check"])
        return model

    def train(self, variant):
        """Builds the variant's programs and trains it, where that is not done."""
        folder, options = self.folder(variant), self.options
        if (folder / "final" / "config.json").exists():
            return
        model = self.model(variant)
        programs = Path(run(["bash", EXAMPLES / "build_for.sh", model], keep=True).splitlines()[-1])
        texts = [word for name, file in self.texts().items() for word in ("--eval", f"{name}={file}")]
        run([programs / "cpt", model, "--train", "inserted", "--data", *options.data, *texts, "--out", folder, "--steps",
             options.steps, "--warmup", options.steps // 20, f"--learning-rate={options.learning_rate:g}",
             *(f"--rate-scale={scale}" for scale in options.rate_scale), f"--seed={options.seed}", "--batch", options.batch,
             "--length", options.length, "--checkpoint-every", 500, "--keep-last", 1, "--resume"])

    def folder(self, variant):
        return self.out / "runs" / variant.name

    def result(self, variant):
        """A line of results.jsonl; None where the variant is not done. Losses are means in nats per token."""
        folder = self.folder(variant)
        if not (folder / "final" / "config.json").exists():
            return None
        before, after = report.losses(folder)
        return {"variant": variant.name, "num_keys": variant.num_keys, "top_k": variant.top_k,
                "value_rank": variant.value_rank, "positions": list(variant.positions), "centre": variant == self.centre,
                "trained": report.trained_parameters(folder), "steps": self.options.steps, "before": before, "loss": after,
                "tokens_per_s": report.cost(plots.steps(folder))["tokens_per_s"]}

    # --- what is run

    def go(self):
        self.keep_settings()
        done = [variant for variant in self.variants if self.result(variant)]
        print(f"{len(self.variants)} variants, {len(done)} of them done; the centre is {self.centre.name}", flush=True)
        for i, variant in enumerate(self.variants):
            if variant in done:
                continue
            print(f"\n=== {variant.name} ({i + 1} of {len(self.variants)})", flush=True)
            self.train(variant)
            self.write_results()
        self.write_results()
        print(f"\n{(self.out / 'results.md').read_text(encoding='utf-8')}\nresults: {self.out / 'results.md'}")

    def write_results(self):
        results = {variant: result for variant in self.variants if (result := self.result(variant))}
        names = list(self.texts())
        before = results[next(iter(results))]["before"]
        for result in results.values():  # values start at 0, so the base's logits are theirs
            for name in names:
                if not math.isclose(result["before"][name], before[name], rel_tol=1e-5):
                    fail(result["variant"], ": before its first step its loss on ", name, " is ", result["before"][name],
                         ", another's ", before[name], ": the up-scaled models are not the same base's")
        write(self.out / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results.values()))
        pictures = [axis for axis in AXES if self.draw(axis, results, names, before)]
        write(self.out / "results.md", self.page(results.values(), names, before, pictures))

    def draw(self, axis, results, names, before):
        """The picture of one axis: the centre and those that differ from it there alone. False where there is one."""
        chosen = [variant for value in self.values[axis]
                  if (variant := replace(self.centre, **{axis: value})) in results]
        if len(chosen) < 2:
            return False
        if axis == "positions":
            rows = [(variant.placement, results[variant]["loss"]) for variant in chosen]
        else:
            rows = sorted((getattr(variant, axis), results[variant]["loss"]) for variant in chosen)
        plots.draw_sweep(axis, AXES[axis], rows, names, before, self.out)
        return True

    def page(self, results, names, before, pictures):
        rows = [["n", "k", "r", "before layers", "trained", *(f"{name}: nats/token" for name in names), "tokens/s"],
                ["the base", "", "", "", "", *(f"{before[name]:.4f}" for name in names), ""]]
        for result in results:
            mark = " (centre)" if result["centre"] else ""
            rows.append([f"{result['num_keys']}{mark}", str(result["top_k"]), str(result["value_rank"]),
                         ",".join(map(str, result["positions"])), f"{result['trained']:,}",
                         *(f"{result['loss'][name]:.4f}" for name in names), f"{result['tokens_per_s']:,.0f}"])
        options = self.options
        scales = ", ".join(options.rate_scale) or "none"
        return (f"# A sweep around {self.centre.name}\n\n{report.markdown(rows)}\n"
                f"{options.steps} steps of {options.batch} × {options.length} tokens, inserted blocks trained at rate "
                f"{options.learning_rate:g} (rate scales: {scales}), seed {options.seed}. {report.machine()}; commit {report.commit()}.\n"
                + "".join(f"\n![{AXES[axis]}]({axis}.png)\n" for axis in pictures))


def write(path, text):
    """Writes a file that is there as a whole or not at all."""
    other = path.with_name(f".{path.name}.{os.getpid()}")
    other.write_text(text, encoding="utf-8")
    other.replace(path)


def default_positions(layers):
    """Half as many blocks as the base has layers, as in the paper: before every second layer, at the top, at the bottom."""
    count = max(1, layers // 2)
    spread = tuple(layers - 1 - 2 * i for i in reversed(range(count)))
    return list(dict.fromkeys([spread, tuple(range(layers - count, layers)), tuple(range(count))]))


def positions(text):
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected layers such as 1,3, found {text!r}") from None


def main():
    parser = argparse.ArgumentParser(prog="bash examples/sweep.sh", description=__doc__)
    parser.add_argument("base", metavar="BASE", type=Path, help="the base's directory: config.json and safetensors files")
    parser.add_argument("--data", nargs="+", required=True, help="token files to train on (see prepare)")
    parser.add_argument("--eval", action="append", required=True, metavar="NAME=FILE",
                        help="a token file to evaluate on, before the first step and after the last; may be repeated")
    parser.add_argument("--out", type=Path, required=True, help="folder of all results")
    parser.add_argument("--steps", type=int, default=500, help="of continued pre-training (default %(default)s)")
    parser.add_argument("--num-keys", nargs="+", type=int, default=[128, 64, 256], metavar="N", help="n; default %(default)s")
    parser.add_argument("--top-k", nargs="+", type=int, default=[16, 8, 32], metavar="K", help="k; default %(default)s")
    parser.add_argument("--value-rank", nargs="+", type=int, default=[64, 32, 128], metavar="R", help="r; default %(default)s")
    parser.add_argument("--positions", nargs="+", type=positions, metavar="I,J,...",
                        help="placements, each as the layers before which blocks go (default: half as many blocks as layers: "
                             "before every second layer; at the top; at the bottom)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="default %(default)s")
    parser.add_argument("--rate-scale", action="append", metavar="PATTERN=X",
                        help="rates of some parameters; default *.memory.values=20")
    parser.add_argument("--key-spread", type=float, help="of `upscale`: sub-keys are N(0, X²)")
    parser.add_argument("--batch", type=int, default=16, help="windows of a step (default %(default)s)")
    parser.add_argument("--length", type=int, default=128, help="tokens of a window (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of insertion and data order (default %(default)s)")
    options = parser.parse_args()
    if options.rate_scale is None:
        options.rate_scale = ["*.memory.values=20"]
    sweep = Sweep(options)
    tools = run(["bash", EXAMPLES / "build_tools.sh"], keep=True).splitlines()[-1]
    os.environ["PATH"] = tools + os.pathsep + os.environ["PATH"]
    sweep.go()


if __name__ == "__main__":
    main()
