"""The quickstart: one base, several ways to go on with it, one report.

Run it through examples/quickstart.sh, which installs and builds first. Every stage leaves its result in the
folder --out and is skipped when that is there, so an interrupted run goes on with the same command.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import report
import text
from programs import Clock, run

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

TEXT_SEED = 1  # of the order of the glosses
BASE_SEED = 1  # of the base's weights and of the order of its data
BATCH, LENGTH = 16, 128
BASE_STEPS, CPT_STEPS = 5000, 700
BASE_SECONDS, CPT_SECONDS = 200, 36  # what these steps take on two cores
MINUTES = 7  # the base and every variant; where cores are slow, ten
POSITIONS = "2,3"  # of the inserted blocks
KEY_SPREAD = "2"  # of the memories' new sub-keys
PROMPTS = ("And the LORD said unto ", "whale: ")


@dataclass(frozen=True)
class Variant:
    """A way to go on with the base: what `upscale` makes of it, and what then trains."""

    name: str
    title: str
    upscale: tuple = ()  # arguments of `upscale`; none: the base as it is
    train: tuple = ("inserted",)
    memory: bool = False
    sampled: bool = False  # the report shows continuations


VARIANTS = (
    Variant("whole", "no up-scaling, all trained", train=("everything",), sampled=True),
    Variant("last_layers", "no up-scaling, last 2 layers", train=("model.layers.2.*", "model.layers.3.*")),
    Variant("solar", "SOLAR, all trained", ("--policy", "solar", "--overlap", "1"), ("everything",)),
    Variant("llama_pro", "LLaMA-Pro, 2 blocks", ("--policy", "llama_pro", "--positions", POSITIONS)),
    Variant("pkm", "PKM, 2 blocks", ("--policy", "pkm", "--positions", POSITIONS, "--num-keys", "64", "--top-k", "16",
                                     "--memory-heads", "4", "--query-dim", "16", "--key-spread", KEY_SPREAD), memory=True),
    Variant("midus", "MIDUS, 2 blocks", ("--policy", "midus", "--positions", POSITIONS, "--num-keys", "128", "--top-k",
                                         "16", "--value-rank", "32", "--key-spread", KEY_SPREAD), memory=True, sampled=True),
)


@dataclass(frozen=True)
class Setting:
    """One run of continued pre-training."""

    variant: Variant
    rate: float
    rate_scales: dict
    seed: int

    @property
    def name(self):
        return f"{self.variant.name}/rate-{self.rate:g}-seed-{self.seed}"

    def options(self):
        scales = [f"--rate-scale={pattern}={scale:g}" for pattern, scale in self.rate_scales.items()]
        return [f"--learning-rate={self.rate:g}", f"--seed={self.seed}", *scales]


class Quickstart:
    """The stages. `self.out` holds all that they make."""

    def __init__(self, arguments):
        self.out = Path(arguments.out).resolve()
        self.rates = json.loads(Path(arguments.rates).read_text())
        self.scale = arguments.minutes / MINUTES
        self.base_steps = max(10, round(BASE_STEPS * self.scale))
        self.cpt_steps = max(10, round(CPT_STEPS * self.scale))
        self.command = shlex.join(["bash", "examples/quickstart.sh", *sys.argv[1:]])
        self.programs = {}
        self.clock = Clock(self.out / "times.jsonl")
        self.out.mkdir(parents=True, exist_ok=True)
        self.keep_settings()

    def keep_settings(self):
        """Refuses to mix the runs of two settings in one folder."""
        variants = {variant.name: {"upscale": variant.upscale, "train": variant.train,
                                   "rate_scales": self.setting(variant).rate_scales} for variant in VARIANTS}
        settings = {"base": json.loads((HERE / "base" / "config.json").read_text()), "base_steps": self.base_steps, "base_rate": self.rates["base"]["learning_rate"],
                    "cpt_steps": self.cpt_steps, "batch": BATCH, "length": LENGTH, "variants": variants}
        path = self.out / "settings.json"
        settings = json.loads(json.dumps(settings))
        if path.exists() and json.loads(path.read_text()) != settings:
            sys.exit(f"{path}: this folder was made with other settings; choose another --out, or remove it")
        path.write_text(json.dumps(settings, indent=1) + "\n")

    # --- stages

    def prepare_data(self):
        """A tokenizer of the old text, and both texts as token files for training, validation and test."""
        for name, write in (("wordnet", text.wordnet), ("bible", text.bible)):
            source = self.out / "data" / f"{name}.txt"
            if source.with_suffix(".json").exists():
                continue
            source.parent.mkdir(exist_ok=True)
            write(source)
            if name == "wordnet":  # the base's tokenizer has not seen what comes later
                self.start.mkdir(exist_ok=True)
                shutil.copy(HERE / "base" / "config.json", self.start)
                vocab_size = json.loads((self.start / "config.json").read_text())["vocab_size"]
                run(["train_tokenizer", source, "--vocab-size", vocab_size, "--out", self.start, "--force"])
            shuffle = ["--shuffle-lines", TEXT_SEED] if name == "wordnet" else []  # the Bible is running text
            printed = run(["prepare", "--tokenizer", self.start, source, "--split", "90,5,5", *shuffle, "--force", "--out",
                           source.with_suffix(".bin")], keep=True)
            sizes = {part: int(tokens) / int(size) for part, tokens, size in
                     re.findall(r"\.(\w+)\.bin: (\d+) tokens from (\d+) bytes", printed)}
            source.with_suffix(".json").write_text(json.dumps(sizes) + "\n")

    @property
    def start(self):
        """The base before it is trained: its config.json and its tokenizer.json."""
        return self.out / "start"

    def data(self, name, part):
        return self.out / "data" / f"{name}.{part}.bin"

    def tokens_per_byte(self, part):
        """Of a part of both texts: nats per token times this are nats per byte."""
        return {name: json.loads((self.out / "data" / f"{text}.json").read_text())[part]
                for name, text in (("new", "bible"), ("old", "wordnet"))}

    def build(self):
        """Builds the programs for all shapes, before anything is trained: models of one step show the shapes."""
        self.build_for(self.start)
        draft = self.out / "shapes" / "base"
        if not (draft / "final").exists():
            run([self.program("pretrain", self.start), self.start, "--data", self.data("wordnet", "train"), "--steps", 1,
                 "--batch", 1, "--length", LENGTH, "--out", draft, "--force"])
        shapes = {}
        for variant in VARIANTS:
            if variant.upscale:
                shape = self.out / "shapes" / variant.name
                if not shape.exists():
                    run(["upscale", draft / "final", shape, *variant.upscale, "--no-check"], keep=True)
                shapes[report.shape_of(shape)] = shape  # two variants can share one
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.build_for, shapes.values()))

    def build_for(self, directory):
        """The folder with the programs for the shape of a model."""
        folder = Path(run(["bash", ROOT / "examples/build_for.sh", directory], keep=True).splitlines()[-1])
        self.programs[report.shape_of(directory)] = folder

    def program(self, name, model):
        return self.programs[report.shape_of(model)] / name

    def pretrain(self):
        """The base."""
        if not (self.base / "config.json").exists():
            with self.clock.stage("pre-training the base", BASE_SECONDS * self.scale):
                run([self.program("pretrain", self.start), self.start, "--data", self.data("wordnet", "train"), "--out",
                     self.base.parent, "--steps", self.base_steps, "--warmup", self.base_steps // 25,
                     f"--learning-rate={self.rates['base']['learning_rate']:g}", f"--seed={BASE_SEED}",
                     *self.run_options("test")])

    @property
    def base(self):
        return self.out / "base" / "final"

    def run_options(self, part):
        """What all runs share: they evaluate on a part of both texts before the first step and after the last."""
        return ["--batch", BATCH, "--length", LENGTH, "--eval", f"new={self.data('bible', part)}",
                "--eval", f"old={self.data('wordnet', part)}", "--checkpoint-every", 500, "--keep-last", 1, "--resume"]

    def model(self, variant, seed):
        """The model that a variant starts from. `upscale` checks that its logits are the base's."""
        if not variant.upscale:
            return self.base
        model = self.out / "models" / f"{variant.name}-seed-{seed}"
        if not model.exists():
            model.parent.mkdir(exist_ok=True)
            printed = run(["upscale", self.base, model, *variant.upscale, "--seed", seed], keep=True)
            model.with_suffix(".txt").write_text(printed + "\n")
        return model

    def continue_pretraining(self, setting, part="test"):
        """One run of a variant."""
        model, folder = self.model(setting.variant, setting.seed), self.folder(setting, part)
        if not (folder / "final" / "config.json").exists():
            with self.clock.stage(f"{setting.variant.title}, rate {setting.rate:g}, seed {setting.seed}",
                                  CPT_SECONDS * self.scale):
                run([self.program("cpt", model), model, "--train", *setting.variant.train, "--data",
                     self.data("bible", "train"), "--out", folder, "--steps", self.cpt_steps, "--warmup",
                     self.cpt_steps // 20, *setting.options(), *self.run_options(part)])

    def folder(self, setting, part="test"):
        """Of a run. What rates are chosen by is evaluated on validation text, and lies apart."""
        return self.out / {"test": "runs", "validation": "tuning"}[part] / setting.name

    def sample(self, model, folder):
        """A few continuations."""
        path = folder / "samples.json"
        if not path.exists():
            samples = [run([self.program("sample", model), model, "--prompt", prompt, "--max-tokens", 100,
                            "--temperature", 0.7, "--seed", 1], keep=True) for prompt in PROMPTS]
            path.write_text(json.dumps(samples))

    def slot_use(self, model, folder):
        """How the heads of a memory use its slots, on the new domain's validation text."""
        path = folder / "slot_use.json"
        if not path.exists():
            run([self.program("slot_use", model), model, "--data", self.data("bible", "validation"), "--json", path])

    # --- what is run

    def setting(self, variant, seed=1, rate=None):
        chosen = self.rates["variants"][variant.name]
        return Setting(variant, rate or chosen["learning_rate"], chosen.get("rate_scales", {}), seed)

    def begin(self, settings, part):
        """All that comes before the runs of these settings; tells the clock what is to be trained still."""
        seconds = 0 if self.base.exists() else BASE_SECONDS * self.scale
        seconds += sum(CPT_SECONDS * self.scale for setting in settings if not (self.folder(setting, part) / "final").exists())
        self.clock.planned = seconds
        self.prepare_data()
        self.build()
        self.pretrain()

    def compare(self, seeds, frontier):
        """Every variant at its committed rate, and with `frontier` at the grid's other rates."""
        rates = self.rates["grid"]["learning_rate"] if frontier else []
        planned = [self.setting(variant, seed) for seed in range(1, seeds + 1) for variant in VARIANTS]
        others = [self.setting(variant, 1, rate) for variant in VARIANTS for rate in rates]
        others = [setting for setting in others if setting not in planned]
        self.begin(planned + others, "test")
        self.sample(self.base, self.base.parent)
        for setting in planned + others:
            self.continue_pretraining(setting)
        for setting in planned[:len(VARIANTS)]:
            folder = self.folder(setting)
            if setting.variant.sampled:
                self.sample(folder / "final", folder)
            if setting.variant.memory:
                self.slot_use(folder / "final", folder)
        report.write(self, VARIANTS, planned, others, PROMPTS)

    def tune(self):
        """Searches every variant's rate on validation text, with one grid, and writes OUT/rates.json."""
        grid = {variant: [self.setting(variant, 1, rate) for rate in self.rates["grid"]["learning_rate"]]
                for variant in VARIANTS}
        self.begin(sum(grid.values(), []), "validation")
        results, chosen = [], {}
        for variant, settings in grid.items():
            scored = []
            for setting in settings:
                self.continue_pretraining(setting, "validation")
                _, losses = report.losses(self.folder(setting, "validation"), self.tokens_per_byte("validation"))
                scored.append((losses["new"], setting.rate))
                results.append({"variant": variant.name, "learning_rate": setting.rate, **losses})
            chosen[variant.name] = self.rates["variants"][variant.name] | {"learning_rate": min(scored)[1]}
        effort = f"{len(VARIANTS)} variants at each rate of the grid, one seed, {self.cpt_steps} steps"
        tuned = self.rates | {"effort": effort, "variants": chosen, "results": results}
        (self.out / "rates.json").write_text(json.dumps(tuned, indent=1) + "\n")
        print(f"wrote {self.out / 'rates.json'}")


def main():
    parser = argparse.ArgumentParser(prog="bash examples/quickstart.sh", description=__doc__)
    parser.add_argument("--out", default="runs/quickstart", help="folder of all results (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=MINUTES,
                        help="scales the steps: minutes of training on two cores (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions with other seeds of data order and insertion")
    parser.add_argument("--frontier", action="store_true", help="every variant at several rates")
    parser.add_argument("--tune", action="store_true", help="search the rates on validation text (hours)")
    parser.add_argument("--rates", default=HERE / "rates.json", help="the rates to use (default: the committed ones)")
    arguments = parser.parse_args()
    quickstart = Quickstart(arguments)
    if arguments.tune:
        quickstart.tune()
    else:
        quickstart.compare(arguments.seeds, arguments.frontier)


if __name__ == "__main__":
    main()
