#!/usr/bin/env python3
"""Checks that what the documentation shows is what the tree holds.

The README's program is examples/readme.cpp and it links to every page of docs/; every path that a Markdown file links to
or names in back quotes exists. Prints what is wrong and exits with 1.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    faults = []
    readme = (ROOT / "README.md").read_text()
    program = (ROOT / "examples/readme.cpp").read_text().split("\n", 1)[1].strip()
    if program not in readme:
        faults.append("README.md: its program is not examples/readme.cpp")
    for page in sorted((ROOT / "docs").glob("*.md")):
        if f"](docs/{page.name})" not in readme:
            faults.append(f"README.md: does not link to docs/{page.name}")

    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    for page in pages:
        text = page.read_text()
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        faults += [
            f"{page.relative_to(ROOT)}: links to {link}, which does not exist"
            for link in links
            if not (page.parent / link).exists()
        ]
        named = re.findall(r"`((?:examples|test|scripts|docs|cmake|bench|include)/[\w./-]+)`", text)
        faults += [
            f"{page.relative_to(ROOT)}: names {name}, which does not exist"
            for name in named
            if not (ROOT / name).exists()
        ]
    print("\n".join(faults) or "the documentation shows what is there")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
