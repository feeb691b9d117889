#!/usr/bin/env python3
"""Puts faults into the library, one at a time, and looks whether the tests see them.

    python3 test/mutations/run.py [--seed 1] [--faults 100] [--jobs N] [--table FILE]

Each fault (faults.py) goes into a copy of the tree under build/mutations; the tests that include the file are built and
run, those of its own name first, until one fails. A fault that does not compile is replaced by the next of the seed's
order. Results stand in build/mutations/seed-SEED.jsonl and are taken from there when the run is started again. Ends
with 1 where a fault survived that test/mutations/equivalent.json does not explain.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from faults import Fault, draw

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build/mutations"
COPIED = ("CMakeLists.txt", "cmake", "include", "examples", "test")
# The tests of whole models and runs, for what the tests near a file let pass.
WIDE = ("layers/layers", "model/language_model", "model/invariances", "model/tables:hive", "model/tables:base_llama3",
        "model/tables:pkm", "train/flops", "train/trainer", "train/optimizer", "train/run")
COMPILE_FAIL = "compile_fail"  # mistakes in a model's type that must not compile
MINUTES = 5  # for one test program; longer means that the fault made a loop endless


def includes_of(file, seen=None):
    """The project's files that `file` includes, and theirs."""
    seen = set() if seen is None else seen
    for name in re.findall(r'#include "(.+?)"', file.read_text(encoding="utf-8")):
        for folder in (ROOT / "include", ROOT / "test", file.parent):
            path = folder / name
            if path.exists() and path not in seen:
                seen.add(path)
                includes_of(path, seen)
                break
    return seen


class Tests:
    """Which test programs could see a fault in a file, nearest first."""

    def __init__(self):
        self.includes = {}
        for path in sorted((ROOT / "test").glob("*/*_test.cpp")):
            folder, name = path.parent.name, path.name.removesuffix("_test.cpp")
            if folder not in ("examples", "io", "upscale", "core") and name not in ("tables", "llama_3_2_1b"):
                self.includes[f"{folder}/{name}"] = includes_of(path)
        # Its model comes from a header that the build makes.
        tables = includes_of(ROOT / "test/model/tables_test.cpp") | includes_of(ROOT / "include/midus/midus.hpp")
        for table in ("hive", "dense", "pkm", "base_llama3"):
            self.includes[f"model/tables:{table}"] = tables

    def of(self, file):
        path = ROOT / file
        able = [test for test, includes in self.includes.items() if path in includes]
        stem = path.stem.removesuffix("_cpu")
        own = [test for test in able if test.split("/")[1].removesuffix("_backward") == stem.removesuffix("_backward")]
        near = sorted((test for test in able if test.split("/")[0] == path.parent.name and ":" not in test),
                      key=lambda test: (len(self.includes[test]), test))
        refusals = [COMPILE_FAIL] if "static_assert" in path.read_text(encoding="utf-8") else []
        return list(dict.fromkeys(own + near + refusals + [test for test in WIDE if test in able]))

    @staticmethod
    def program(test):
        return "test_" + test.replace("/", "_").replace(":", "_")


class Tree:
    """A copy of the tree, with a build folder."""

    def __init__(self, number, log):
        self.root, self.log = OUT / f"tree-{number}", log
        self.root.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            for path in [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*")):
                target = self.root / path.relative_to(ROOT)
                if path.is_dir() or "__pycache__" in path.parts:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists() or target.read_bytes() != path.read_bytes():
                    shutil.copy2(path, target)
                    os.utime(target)
        self.run(["cmake", "-S", self.root, "-B", self.root / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                  "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG", "-DMIDUS_TESTS=ON", "-DMIDUS_TORCH_PYTHON=",
                  "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON"])

    def run(self, command, seconds=None):
        def limits():
            resource.setrlimit(resource.RLIMIT_DATA, (12 << 30, 12 << 30))  # not what is only reserved
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        with open(self.log, "a", encoding="utf-8") as log:
            return subprocess.run([str(word) for word in command], stdout=log, stderr=log, timeout=seconds, check=False,
                                  preexec_fn=limits, cwd=self.root).returncode

    def passes(self, test):
        """None where it does not compile."""
        if test == COMPILE_FAIL:
            return self.run(["ctest", "--test-dir", self.root / "build", "-L", COMPILE_FAIL]) == 0
        program = Tests.program(test)
        if self.run(["cmake", "--build", self.root / "build", "-j", "1", "--target", program]) != 0:
            return None
        try:
            # The exit status is the number of failures (0 to 255); negative: a signal.
            return self.run([self.root / "build/test" / program, "--abort"], 60 * MINUTES) == 0
        except subprocess.TimeoutExpired:
            return False

    def judge(self, fault, tests):
        """The test that sees the fault; "" where none does, None where it does not compile."""
        path = self.root / fault.file
        clean = path.read_text(encoding="utf-8")
        lines = clean.splitlines(keepends=True)
        assert lines[fault.line - 1].strip() == fault.before
        lines[fault.line - 1] = fault.after + "\n"
        path.write_text("".join(lines), encoding="utf-8")
        try:
            for test in tests:
                passed = self.passes(test)
                if passed is None:
                    return None if test == tests[0] else f"{test} (does not compile)"
                if not passed:
                    return test
            return ""
        finally:
            path.write_text(clean, encoding="utf-8")


def read_results(path):
    """What is known of each fault of the tree as it is: a file's changed line is another fault."""
    known = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            seen_by = entry.pop("seen_by")
            known[Fault(**entry)] = seen_by
    return known


def reason_of(fault, equivalents):
    for entry in equivalents:
        if (entry["file"], entry["before"], entry["after"]) == (fault.file, fault.before, fault.after):
            return entry["reason"]
    return None


def write_table(path, seed, results, equivalents):
    cells = lambda text: "`" + text.replace("|", "\\|") + "`"
    count = lambda wanted: sum(1 for _, seen_by in results if wanted(seen_by))
    rows = []
    for number, (fault, seen_by) in enumerate(results, 1):
        verdict = seen_by or "nothing: " + (reason_of(fault, equivalents) or "SURVIVED")
        place = f"{fault.file.removeprefix('include/midus/')}:{fault.line}"
        rows.append(f"| {number} | {place} | {fault.kind} | {cells(fault.before)} | {cells(fault.after)} | {verdict} |")
    survivors = [fault for fault, seen_by in results if not seen_by and not reason_of(fault, equivalents)]
    path.write_text(f"""# Faults put into the library, and who saw them

`python3 test/mutations/run.py --seed {seed} --faults {len(results)}`: {len(results)} faults that compile, {count(bool)} seen by
a test, {count(lambda seen_by: not seen_by) - len(survivors)} that change nothing that is promised (with the reason), {len(survivors)} that survived.

| | where | kind | line | with the fault | seen by |
|---:|---|---|---|---|---|
""" + "\n".join(rows) + "\n", encoding="utf-8")
    return survivors


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the faults (default 1)")
    parser.add_argument("--faults", type=int, default=100, help="how many that compile (default 100)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trees at a time (default: processors)")
    parser.add_argument("--table", type=Path, help="write the table here (default: build/mutations/seed-SEED.md)")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    record = OUT / f"seed-{options.seed}.jsonl"
    equivalents = json.loads((Path(__file__).parent / "equivalent.json").read_text(encoding="utf-8"))
    known, tests = read_results(record), Tests()
    order = draw(ROOT, options.seed)
    lock, taken, begin = threading.Lock(), [], time.monotonic()

    def next_fault():
        """The next fault of the order that may count: enough of those before it did not compile."""
        with lock:
            if sum(1 for fault in taken if known.get(fault, "") is not None) >= options.faults:
                return None
            taken.append(next(order))
            return taken[-1]

    def work(number):
        tree = Tree(number, OUT / f"tree-{number}.log")
        while (fault := next_fault()) is not None:
            if fault in known:
                continue
            seen_by = tree.judge(fault, tests.of(fault.file))
            with lock:
                known[fault] = seen_by
                with open(record, "a", encoding="utf-8") as out:
                    out.write(json.dumps({**asdict(fault), "seen_by": seen_by}) + "\n")
                done = sum(1 for each in taken if known.get(each) is not None)
                verdict = "does not compile" if seen_by is None else seen_by or "SURVIVED"
                print(f"{done:4d}/{options.faults}  {(time.monotonic() - begin) / 60:6.1f} min  {fault.file}:{fault.line}  "
                      f"{fault.kind}: {verdict}", flush=True)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    results = [(fault, known[fault]) for fault in taken if known.get(fault) is not None]

    # A test that fails without a fault as well has seen nothing.
    seeing = sorted({seen_by for _, seen_by in results if seen_by and " " not in seen_by})

    def failing(number):
        tree = Tree(number, OUT / f"tree-{number}.log")
        return [f"{test} fails without a fault too (see {tree.log})" for test in seeing[number::options.jobs]
                if not tree.passes(test)]

    with ThreadPoolExecutor(options.jobs) as pool:
        failed = sum(pool.map(failing, range(options.jobs)), [])
    if failed:
        sys.exit("test/mutations/run.py: " + "\n".join(failed))
    survivors = write_table(options.table or OUT / f"seed-{options.seed}.md", options.seed, results, equivalents)
    for fault in survivors:
        print(f"survived: {fault.file}:{fault.line} ({fault.kind})\n  {fault.before}\n  {fault.after}")
    print(f"{len(results)} faults, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
