"""Draws what slot_use and head_ablation write with --json, by gnuplot, as SVG and PNG.

    python3 examples/analyses/draw.py slot_use.json head_ablation.json --out pictures
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "quickstart"))

import plots


def draw(path, folder):
    """The picture of one file: the kind shows in what it holds."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        keys = result["blocks"][0].keys()
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        sys.exit(f"draw.py: {path}: expected what slot_use or head_ablation write with --json: {error}")
    if "increase" in keys:
        plots.draw_head_ablation(result, folder)
        name = "head_ablation"
    elif "read_ratio" in keys:
        plots.draw_slot_use({"": result}, folder)
        name = "{slot_use,read_ratio}"
    else:
        sys.exit(f"draw.py: {path}: expected what slot_use or head_ablation write with --json, found blocks with "
                 + ", ".join(keys))
    print(f"wrote {folder / name}.{{png,svg}}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", nargs="+", type=Path, help="a file of slot_use or head_ablation")
    parser.add_argument("--out", type=Path, default=Path("."), help="the pictures' folder (default: here)")
    arguments = parser.parse_args()
    if shutil.which("gnuplot") is None:
        sys.exit("draw.py: gnuplot is needed: install gnuplot-nox")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in arguments.json:
        draw(path, arguments.out)


if __name__ == "__main__":
    main()
