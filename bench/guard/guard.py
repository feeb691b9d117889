#!/usr/bin/env python3
"""Guards speed by ratios: no op may lose more than 30 % against what it is measured beside.

    python3 bench/guard/guard.py BENCHMARKS_FOLDER [--record]

Runs those benchmarks of a build with -DMIDUS_BENCHMARKS=ON that time an op beside a peer in turns, in one process and
on one thread (plain loops, Eigen, std::partial_sort, a feed-forward layer: whatever has "_beside_" in its name), and
compares the medians of their ratios with those in bench/guard/ratios.json for this processor's instruction set.
--record writes what was measured there instead. Where no ratios are recorded for the instruction set, it says so and
passes. A ratio that is too low is measured twice more first: machines have bad moments.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = ["rms_norm_bench", "swiglu_bench", "rotary_bench", "embedding_bench", "cross_entropy_bench", "adamw_bench",
            "gemm_bench", "causal_attention_bench", "value_pool_bench", "product_key_top_k_bench", "headwise_memory_bench"]
# The layers of the larger shape take seconds each.
FILTER = "beside_(reference|eigen|partial_sort/n:128/k:16)|beside_feed_forward<512.*"
LOSS = 0.30


def instruction_set():
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        words = []
    return "avx512" if "avx512f" in words else "avx2" if "avx2" in words else "other"


def measure(folder, program):
    """{benchmark: median ratio}."""
    command = [folder / program, f"--benchmark_filter={FILTER}", "--benchmark_repetitions=5", "--benchmark_min_time=0.1",
               "--benchmark_report_aggregates_only=true", "--benchmark_out_format=json", "--benchmark_out=/dev/stderr"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"guard.py: {program} failed:\n{done.stderr}")
    rows = json.loads(done.stderr[done.stderr.index("{"):])["benchmarks"]
    return {f"{program}: {row['run_name'].split('/manual_time')[0]}": row["peer/ours"] for row in rows
            if row["aggregate_name"] == "median"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the benchmarks were built, as build/bench")
    parser.add_argument("--record", action="store_true", help="write bench/guard/ratios.json for this instruction set")
    options = parser.parse_args()
    file = HERE / "ratios.json"
    recorded = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    kind = instruction_set()
    expected = recorded.get(kind, {})
    slow = []
    found = {}
    for program in PROGRAMS:
        ratios = measure(options.folder, program)
        for _ in range(2):
            if options.record or all(ratio >= (1 - LOSS) * expected.get(name, 0) for name, ratio in ratios.items()):
                break
            again = measure(options.folder, program)
            ratios = {name: max(ratio, again[name]) for name, ratio in ratios.items()}
        if not ratios:
            sys.exit(f"guard.py: {program} has no benchmark that times an op beside a peer")
        for name, ratio in ratios.items():
            least = (1 - LOSS) * expected.get(name, 0)
            print(f"{ratio:8.2f}  {'at least %.2f' % least if least else 'not recorded':18s}  {name}", flush=True)
            if ratio < least:
                slow.append(name)
        found.update(ratios)
    if options.record:
        recorded[kind] = {name: round(ratio, 2) for name, ratio in found.items()}
        file.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
        return
    if not expected:
        print(f"No ratios are recorded for {kind}: nothing was compared (--record writes them).")
    missing = sorted(set(expected) - set(found))
    if slow or missing:
        sys.exit("guard.py: " + "; ".join([f"slower than recorded by more than {LOSS:.0%}: {name}" for name in slow] +
                                          [f"recorded, but not measured: {name}" for name in missing]))


if __name__ == "__main__":
    main()
