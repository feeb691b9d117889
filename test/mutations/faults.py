"""Draws faults from the lines of the library: what a slip of the hand would make of them."""

import random
import re
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("ops", "layers", "model", "train")

# kind: patterns of what is replaced, and what replaces it (a string, or a function of the match).
KINDS = {
    "sign": [(r" \+ ", " - "), (r" - ", " + "), (r"(?<=[(=,] )-(?=[\w(])", "")],
    "operator": [(r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "),
                 (r" != ", " == "), (r" && ", " || "), (r" \|\| ", " && "), (r" / (?!\")", " * "), (r"(?<=[\w)\]]) \* (?=[\w(])", " / ")],
    "constant": [(r"(?<![\w.<\"'])\d+(?:\.\d+)?(?![\w.>\"'])", lambda found: str(float(found[0]) + 1) if "." in found[0]
                  else str(int(found[0]) + 1))],
    "swapped index": [(r"(?<=[(,\[{ ])(\w+), (\w+)(?=[),\]}])", lambda found: f"{found[2]}, {found[1]}")],
    "dropped accumulate": [(r" (?:\+=|-=|\*=) ", " = ")],
    "missing scale": [(r" \* [\w.]+(?:\(\w*\))?(?=[;,)\s])", ""), (r"(?<=[=(,] )[\w.]+(?:\(\w*\))? \* ", "")],
}

# A fault here changes no number that the library computes, or none that compiles.
SKIPPED = re.compile(r"^\s*(#|//|static_assert|template|using |namespace|requires|concept|}?\s*$)|operator\W|noexcept|\bfail\(|"
                     r"__builtin_prefetch|reserve\(|MIDUS_")


@dataclass(frozen=True)
class Fault:
    file: str  # from the repository's root
    line: int  # from 1
    kind: str
    before: str
    after: str


def masked(line):
    """The line with the characters of strings and comments as blanks, in the same places."""
    line = re.sub(r'"(?:\\.|[^"\\])*"', lambda found: '"' + " " * (len(found[0]) - 2) + '"', line)
    return re.sub(r"//.*", lambda found: " " * len(found[0]), line)


def faults_of(root, file):
    """All faults of a file, by kind."""
    found = {kind: [] for kind in KINDS}
    message = False  # inside a call of fail(...) that goes over several lines
    for number, line in enumerate((root / file).read_text(encoding="utf-8").splitlines(), 1):
        code = masked(line)
        skip = message or SKIPPED.search(code)
        if "fail(" in code or message:
            message = ";" not in code
        if skip:
            continue
        for kind, replacements in KINDS.items():
            for pattern, by in replacements:
                for match in re.finditer(pattern, code):
                    if kind == "swapped index" and (match[1] == match[2] or match[1].isdigit() != match[2].isdigit()):
                        continue
                    if kind == "dropped accumulate" and re.search(r"\bfor \(.*;.*;[^)]*$", code[:match.start()]):
                        continue  # the step of a loop, which would never end
                    after = line[:match.start()] + (by(match) if callable(by) else by) + line[match.end():]
                    found[kind].append(Fault(str(file), number, kind, line.strip(), after.strip()))
    return found


def draw(root, seed):
    """An order of all faults: the kinds take turns, within a kind every file has the same chance. A change of one file
    leaves the order of the others' faults as it was."""
    root = Path(root)
    files = sorted(path.relative_to(root) for folder in FOLDERS for path in (root / "include/midus" / folder).glob("*.hpp"))
    by_kind = {kind: {} for kind in KINDS}
    for file in files:
        for kind, faults in faults_of(root, file).items():
            if faults:
                by_kind[kind][str(file)] = faults
    chance = random.Random(seed)
    for kind, faults in by_kind.items():
        for file, each in faults.items():
            random.Random(f"{seed} {kind} {file}").shuffle(each)
    while any(by_kind.values()):
        for kind in KINDS:
            if by_kind[kind]:
                file = chance.choice(sorted(by_kind[kind]))
                yield by_kind[kind][file].pop()
                if not by_kind[kind][file]:
                    del by_kind[kind][file]
