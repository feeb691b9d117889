#!/usr/bin/env python3
"""Writes include/midus/io/python_sources.hpp: the files of python/ as strings, which go with a model.

    python3 scripts/python_files.py [--check]

With --check it writes nothing and exits with 1 where the header does not hold the files as they are.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include/midus/io/python_sources.hpp"


def header():
    out = "// The files of python/ as they are: made by scripts/python_files.py.\n#pragma once\n\n#include <string_view>\n\n"
    out += "namespace midus {\n\n// clang-format off\n"
    for path in sorted((ROOT / "python").glob("*.py")):
        out += f'inline constexpr std::string_view {path.stem}_py = R"python({path.read_text(encoding="utf-8")})python";\n\n'
    return out + "// clang-format on\n\n}  // namespace midus\n"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    if not sys.argv[1:]:
        HEADER.write_text(header(), encoding="utf-8")
    elif HEADER.read_text(encoding="utf-8") != header():
        sys.exit(f"{HEADER.relative_to(ROOT)} is not what python/ holds: run scripts/python_files.py")


if __name__ == "__main__":
    main()
