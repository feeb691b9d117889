#!/usr/bin/env python3
"""What a model's type costs the compiler: seconds and memory by depth, and of two shapes in one program.

    python3 bench/compile/compile_bench.py [--compiler g++] [--rounds 3] [--json FILE]

Compiles a program that trains one up-scaled model, at -O3 for this processor, for 2, 8 and 32 layers, and one that
trains two models of different shapes. Each in turn, several rounds; the table has medians and the ratio to 2 layers.
The two shapes share the ops: nm counts how often each op's function is in the program.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """#include <midus/midus.hpp>
#include <cstdio>
#include <vector>
namespace mi = midus;

template <class Model>
void train() {
  mi::Cpu<float> device(1);
  mi::LanguageModel<Model, mi::Cpu<float>> model(device);
  mi::initialise(model, 1);
  model.train(mi::everything);
  const std::vector<std::int32_t> ids(64, 1);
  const mi::Batch batch{{ids.data(), mi::Shape<2>{{2, 32}}}, {ids.data(), mi::Shape<2>{{2, 32}}}};
  mi::Optimizer optimizer(model, {});
  model.zero_gradients();
  const mi::LossSum loss = model.loss_and_gradients(batch, 1.0 / 64);
  optimizer.norm();
  optimizer.update(1e-3, 1);
  std::printf("%g\\n", loss.mean());
}
"""
MODEL = """
using Base{n} = mi::Llama<mi::Vocab<256>, mi::Width<{width}>, mi::Layers<{layers}>, mi::Attention<4>, mi::SwiGlu<96>, mi::TiedHead>;
using Model{n} = mi::Upscaled<Base{n}, mi::MemoryBlock<mi::HeadwiseMemory<4, 16, 4, mi::FactorizedValue<8>>>, mi::BeforeLayers<{positions}>>;
"""


def program(models):
    """A program that trains each of the models, given as (width, layers): a Memory block before every second layer."""
    text = PROGRAM
    for n, (width, layers) in enumerate(models):
        text += MODEL.format(n=n, width=width, layers=layers, positions=", ".join(str(i) for i in range(1, layers, 2)))
    return text + "int main() {" + "".join(f" train<Model{n}>();" for n in range(len(models))) + " }\n"


def compile_once(command, source, out):
    """Seconds, and MiB at the peak of the largest process (the compiler's own)."""
    begin = time.monotonic()
    process = subprocess.Popen([*command, str(source), "-o", str(out)])
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"compile_bench.py: {' '.join(command)} failed on {source}")
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def ops_in(program_file):
    """How often each function run(Cpu&, Op) is defined in the program."""
    names = subprocess.run(["nm", "-C", "--defined-only", str(program_file)], capture_output=True, text=True, check=True).stdout
    counts = {}
    for line in names.splitlines():
        if " midus::run<float>(midus::Cpu<float>&" in line and "[clone" not in line and "::{lambda" not in line:
            name = line.split(" ", 2)[2]
            counts[name] = counts.get(name, 0) + 1
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--eigen", default="/usr/include/eigen3", help="Eigen's folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    command = [options.compiler, "-std=c++20", "-O3", "-march=native", "-DNDEBUG", f"-I{ROOT / 'include'}",
               f"-isystem{options.eigen}", "-pthread"]
    cases = {"2 layers": [(64, 2)], "8 layers": [(64, 8)], "32 layers": [(64, 32)], "two shapes, 2 layers each": [(64, 2), (32, 2)]}
    seconds = {name: [] for name in cases}
    memory = {name: 0.0 for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name, models in cases.items():
                source, out = Path(folder) / "model.cpp", Path(folder) / name.replace(" ", "_")
                source.write_text(program(models), encoding="utf-8")
                took, peak = compile_once(command, source, out)
                seconds[name].append(took)
                memory[name] = max(memory[name], peak)
        for name in cases:
            subprocess.run([Path(folder) / name.replace(" ", "_")], check=True, stdout=subprocess.DEVNULL)
        counts = ops_in(Path(folder) / "two_shapes,_2_layers_each")
    if not counts or max(counts.values()) > 1:
        sys.exit(f"compile_bench.py: ops are in the program more than once: {counts}")
    first = statistics.median(seconds["2 layers"])
    print(f"{options.compiler}, {options.rounds} rounds: medians, their spread, the largest memory, the ratio to 2 layers")
    for name, times in seconds.items():
        print(f"  {name:28s} {statistics.median(times):6.1f} s ({min(times):.1f}-{max(times):.1f})  {memory[name]:6.0f} MiB  "
              f"{statistics.median(times) / first:5.2f}")
    print(f"  the two shapes share {len(counts)} ops, each once in the program")
    if options.json:
        options.json.write_text(json.dumps({"seconds": seconds, "MiB": memory, "ops": len(counts)}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
