#!/usr/bin/env python3
"""Opens models that midus wrote in `transformers`, and compares what they compute.

    python test/transformers/check.py PROGRAMS:CONFIG...

PROGRAMS is a folder with the programs `cpt` and `logits`, CONFIG the config.json of their shape. For each: a model of
random weights is trained for two steps by midus, which writes it; midus computes its logits in f32, and transformers opens
the same directory with AutoModelForCausalLM: the logits must agree to 1e-4 of the largest. Models with Memory blocks are
opened with trust_remote_code; of these it also checks gradients, generation with the cache against generation without,
batches padded on the left, save_pretrained and loading again, and that bfloat16 runs.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

try:
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM
except ImportError:
    print("SKIPPED: this python has no transformers")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test/torch"))
from safetensors_file import read_safetensors  # noqa: E402

transformers.logging.set_verbosity_error()


def demand(condition, what):
    if not condition:
        sys.exit(f"test/transformers/check.py: {what}")


def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    demand(result.returncode == 0, f"{command[0]} failed: {result.stderr}")


def write_tokens(path, vocabulary):
    """A token file (docs/checkpoint.md) of random tokens."""
    ids = torch.randint(vocabulary, (2000,), generator=torch.Generator().manual_seed(2)).tolist()
    header = struct.pack("<8sIIQQI32x", b"MIDUSTOK", 1, 2, len(ids), vocabulary, 0)
    path.write_bytes(header.ljust(128, b"\0") + struct.pack(f"<{len(ids)}H", *ids))


def trained_by_midus(programs, config, folder):
    run(sys.executable, ROOT / "test/torch/random_checkpoint.py", folder / "random", "--config", config, "--dtype", "F32")
    write_tokens(folder / "data.bin", json.loads(Path(config).read_text())["vocab_size"])
    run(Path(programs) / "cpt", folder / "random", "--train", "everything", "--data", folder / "data.bin", "--out", folder / "run",
        "--steps", 2, "--batch", 2, "--length", 16)
    return folder / "run/final"


def logits_of_midus(programs, directory, ids, folder):
    (folder / "ids.json").write_text(json.dumps(ids.tolist()))
    run(Path(programs) / "logits", directory, "--ids", folder / "ids.json", "--out", folder / "logits.safetensors")
    return read_safetensors(folder / "logits.safetensors")["logits"]


def difference(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def check_memory_model(model, directory, ids, folder):
    config = AutoConfig.from_pretrained(directory, trust_remote_code=True)
    demand(type(config).__name__ == "MidusConfig", f"{directory}: the configuration is a {type(config).__name__}")
    model.train()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    for name, parameter in model.named_parameters():
        demand(parameter.grad is not None and torch.isfinite(parameter.grad).all(), f"{name} has no gradient")
    model.zero_grad()
    model.eval()

    prompt = ids[:1, :5]
    kept = model.generate(prompt, max_new_tokens=12, do_sample=False, use_cache=True, pad_token_id=0)
    again = model.generate(prompt, max_new_tokens=12, do_sample=False, use_cache=False, pad_token_id=0)
    demand(torch.equal(kept, again), f"generation differs with and without the cache: {kept.tolist()} {again.tolist()}")

    with torch.no_grad():  # a shorter sequence, padded on the left, in a batch
        alone = model(ids[:1, :4]).logits[0]
        padded = torch.cat((torch.zeros(1, 3, dtype=torch.long), ids[:1, :4]), 1)
        mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1]])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        batch = model(torch.cat((padded, ids[1:2, :7])), attention_mask=torch.cat((mask, torch.ones_like(mask))),
                      position_ids=torch.cat((positions, torch.arange(7)[None]))).logits[0, 3:]
        demand(difference(batch, alone) < 1e-5, "padding changes the logits")

        model.save_pretrained(folder / "saved")
        loaded = AutoModelForCausalLM.from_pretrained(folder / "saved", trust_remote_code=True)
        demand(torch.equal(loaded(ids).logits, model(ids).logits), "saved by transformers and loaded again, the logits differ")
        half = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, torch_dtype=torch.bfloat16)
        demand(torch.isfinite(half(ids).logits).all(), "bfloat16 does not run")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", metavar="PROGRAMS:CONFIG", help="a folder of programs, a config.json of their shape")
    options = parser.parse_args()
    for given in options.models:
        programs, config = given.split(":")
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            directory = trained_by_midus(programs, config, folder)
            shape = json.loads((directory / "config.json").read_text())
            ids = torch.randint(shape["vocab_size"], (2, 24), generator=torch.Generator().manual_seed(1))
            expected = logits_of_midus(programs, directory, ids, folder)
            memory = "midus" in shape
            model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=memory, torch_dtype=torch.float32).eval()
            with torch.no_grad():
                found = model(ids).logits
            worst = difference(found, expected)
            demand(worst < 1e-4, f"{config}: the logits differ by {worst:.2e} of the largest")
            if memory:
                check_memory_model(model, directory, ids, folder)
            print(f"{config}: {type(model).__name__} in transformers {transformers.__version__}, logits within {worst:.1e}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
