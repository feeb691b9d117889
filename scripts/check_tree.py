#!/usr/bin/env python3
"""Checks that the tree is as docs/map.md draws it.

Who includes whom goes one way; Eigen appears in device/ and in forms of ops only; forms are included by the umbrella
only, which names them all; umbrellas reach every header; an op has its form, its reference and its test; headers stay
short; the map names them all; the header made of python/ holds what lies there. Prints what is wrong and exits with 1.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include/midus"
ORDER = ["core", "device", "ops", "layers", "model", "io", "text", "upscale", "train"]  # each may include those before it
BESIDE = {("train", "upscale")}  # neither includes the other
LONGEST = 400  # lines of a header


def includes(path):
    return re.findall(r'^#include [<"](.+?)[>"]', path.read_text(encoding="utf-8"), re.M)


def check_header(path, umbrella):
    name = path.relative_to(ROOT / "include").as_posix()
    folder, is_form = path.parent.name, path.stem.endswith("_cpu")
    for other in includes(path):
        if other.startswith("Eigen/") and not (folder == "device" or is_form):
            yield f"includes {other}: Eigen belongs into device/ and ops/*_cpu.hpp"
        if not other.startswith("midus/") or other.count("/") < 2:
            continue
        above = other.split("/")[1]
        if folder in ORDER and above in ORDER:
            if ORDER.index(above) > ORDER.index(folder) or (folder, above) in BESIDE:
                yield f"includes {other}: {folder}/ lies below or beside {above}/"
        if other.endswith("_cpu.hpp") and not is_form and name != "midus/midus.hpp":
            yield f"includes {other}: the forms come with midus.hpp alone"
    lines = path.read_text(encoding="utf-8").count("\n")
    if lines > LONGEST and not name.endswith(("_tables.hpp", "python_sources.hpp")):  # those are made by scripts
        yield f"has {lines} lines, more than {LONGEST}"
    has_form = is_form and re.search(r"\brun\(Cpu<", path.read_text(encoding="utf-8"))
    if has_form and name not in umbrella and not any(name in includes(ROOT / "include" / each) for each in umbrella):
        yield "is a form of an op, and midus.hpp does not include it"


def check_umbrellas():
    """Whoever includes the umbrellas has everything: the model and its arithmetic in midus.hpp, files in hf.hpp too."""
    reached = set()
    for umbrella, folders in (("midus", ORDER[:5]), ("hf", ["io", "upscale", "train"]), ("tokenizer", ["text"])):
        waiting = [f"midus/{umbrella}.hpp"]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += [other for other in includes(ROOT / "include" / name) if other.startswith("midus/")]
        for folder in folders:
            for path in sorted((INCLUDE / folder).glob("*.hpp")):
                name = path.relative_to(ROOT / "include").as_posix()
                if name not in reached:
                    yield f"{path.relative_to(ROOT)} is not reached from midus/{umbrella}.hpp"


def check_map():
    """The map names every header but those of ops, whose names it explains, and tables, which scripts make."""
    named = set(re.findall(r"\w+", (ROOT / "docs/map.md").read_text(encoding="utf-8")))
    for path in sorted(INCLUDE.glob("*/*.hpp")):
        if path.parent.name != "ops" and not path.stem.endswith("_tables") and path.stem not in named:
            yield f"docs/map.md does not name {path.relative_to(ROOT)}"


def check_op(declaration):
    """An op's five names, without the benchmark, which it has where speed matters."""
    form = declaration.with_name(declaration.stem + "_cpu.hpp")
    for path in (form, ROOT / "test/reference" / declaration.name, ROOT / f"test/ops/{declaration.stem}_test.cpp"):
        if not path.exists():
            yield f"has no {path.relative_to(ROOT)}"


def main() -> int:
    faults = []
    umbrella = includes(INCLUDE / "midus.hpp")
    for path in sorted(INCLUDE.rglob("*.hpp")):
        faults += [f"{path.relative_to(ROOT)} {fault}" for fault in check_header(path, umbrella)]
    for path in sorted((INCLUDE / "ops").glob("*.hpp")):
        if not path.stem.endswith("_cpu"):
            faults += [f"{path.relative_to(ROOT)} {fault}" for fault in check_op(path)]
    made = subprocess.run([sys.executable, ROOT / "scripts/python_files.py", "--check"], capture_output=True, text=True)
    faults += made.stderr.splitlines()
    faults += check_umbrellas()
    faults += check_map()
    print("\n".join(faults) or "the tree is as the map draws it")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
