#!/usr/bin/env python3
"""Compares the token files of `prepare` with the `tokenizers` library on real text of this machine.

    python test/tokenizers/real_text.py PREPARE [--megabytes N] [--seed S] [--kinds KIND...] [--threads T]

The text is what Debian's packages bring: documentation, manual pages, Python, Perl and C sources, translations, licences,
and, where they are installed, WordNet and the Bible; of each kind as much as of the others, as files lie there, in
documents of up to a megabyte or so, which `prepare` encodes in pieces on several threads. The tokenizers are those of
check.py. Exits with 1 at the first token that differs; 77 where there is no tokenizers or too little text.
"""

import argparse
import gzip
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import check

SOURCES = {"documentation": ("/usr/share/doc", ("",)), "manual pages": ("/usr/share/man", (".gz",)),
           "Python": ("/usr/lib", (".py",)), "Perl": ("/usr/share/perl", (".pm", ".pl", ".pod")), "C": ("/usr/include", (".h", ".hpp", "")),
           "translations": ("/usr/share/locale", (".mo",)), "licences": ("/usr/share/common-licenses", ("",)),
           "WordNet": ("/usr/share/wordnet", ("",)), "the Bible": ("/usr/lib/bible-kjv-text", ("",)), "this repository": (check.ROOT, (".md", ".hpp", ".cpp"))}


def content(path):
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except OSError:
        return b""


def documents(size, chance):
    """Of each source as much, up to `size` bytes in all."""
    files = {}
    for name, (root, endings) in SOURCES.items():
        found = [p for p in Path(root).rglob("*") if (not endings[0] or p.suffix in endings or "" in endings)
                 and p.is_file() and not p.is_symlink() and "build" not in p.parts] if Path(root).is_dir() else []
        files[name] = sorted(found)
        chance.shuffle(files[name])
    texts, current, total = [], bytearray(), 0
    while total < size and any(files.values()):
        for name in [n for n in files if files[n]]:
            taken = 0
            while files[name] and taken < size // 40 + 1 and total < size:
                data = content(files[name].pop())[:2_000_000]
                current += data
                taken, total = taken + len(data), total + len(data)
                if len(current) > chance.randint(0, 1_500_000):
                    texts.append(bytes(current))
                    current.clear()
    return texts + ([bytes(current)] if current else [])


def read_tokens(path):
    data = path.read_bytes()
    width, count = struct.unpack_from("<I", data, 12)[0], struct.unpack_from("<Q", data, 16)[0]
    return struct.unpack_from(f"<{count}{'H' if width == 2 else 'I'}", data, 128)


def compare(options, name, tokenizer, texts, folder):
    path, out = folder / "tokenizer.json", folder / "out.bin"
    tokenizer.save(str(path))
    files = []
    for i, text in enumerate(texts):
        files.append(folder / f"{i}.txt")
        files[-1].write_bytes(text)
    subprocess.run([options.program, "--tokenizer", path, *files, "--threads", str(options.threads), "--out", out, "--force"],
                   check=True, capture_output=True)
    ours, at = read_tokens(out), 0
    for i, text in enumerate(texts):
        theirs = tokenizer.encode(text.decode("utf-8", "replace")).ids
        if list(ours[at:at + len(theirs)]) != theirs:
            first = next((j for j, (a, b) in enumerate(zip(ours[at:], theirs)) if a != b), 0)
            kept = Path(tempfile.gettempdir()) / "real_text_differs.txt"
            kept.write_bytes(text)
            sys.exit(f"{name}: text {i} ({len(text)} bytes, kept as {kept}): ids differ from {first} of {len(theirs)} on\n"
                     f"  tokenizers {theirs[first:first + 8]} {tokenizer.decode(theirs[first - 8:first + 8])!r}\n"
                     f"  prepare    {list(ours[at + first:at + first + 8])}")
        at += len(theirs)
    if at != len(ours):
        sys.exit(f"{name}: prepare wrote {len(ours)} tokens, tokenizers gives {at}")
    print(f"{name}: {sum(map(len, texts)) / 1e6:.1f} MB in {len(texts)} texts, {at} tokens, equal", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", metavar="PREPARE")
    parser.add_argument("--megabytes", type=float, default=2, help="how much text, for each kind (default 2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=["gpt2", "llama3", "smollm", "llama2"], help="tokenizers, as in check.py")
    options = parser.parse_args()
    texts = documents(int(options.megabytes * 1e6), random.Random(options.seed))
    if sum(map(len, texts)) < 0.5e6 * options.megabytes:
        print("SKIPPED: this machine has too little text")
        return 77
    for name, make in check.kinds():
        if name in options.kinds:
            with tempfile.TemporaryDirectory() as folder:
                compare(options, name, make(), texts, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
