#!/usr/bin/env python3
"""Compares midus' tokenizers with the `tokenizers` library, text by text.

    python test/tokenizers/check.py ENCODE_JSON [--texts N] [--seed S] [--kinds KIND...] [--time]

Makes tokenizer.json files of each kind (trained here by `tokenizers` itself on this repository's text: GPT-2's and
Llama-3's expressions, SmolLM's sequence with Digits, Llama-2's with byte fallback, Metaspace, added tokens with every
flag), and random texts of all scripts, emoji, controls, white space and code; asks for equal ids with and without
special tokens, equal decoded texts, and that a stream gives the same text. Exits with 1 at the first difference. With
--time it also compares the speed on one thread.
"""

import argparse
import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

try:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
except ImportError:
    print("SKIPPED: this python has no tokenizers")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def corpus():
    files = [*sorted((ROOT / "include").rglob("*.hpp")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
    return [path.read_text(encoding="utf-8") for path in files]


def byte_level(pre_tokenizer, vocab_size=1500, bos=False, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=["<|begin|>", "<|end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if bos:
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|begin|> $A <|end|>", special_tokens=[("<|begin|>", 0), ("<|end|>", 1)])])
    return tokenizer


def llama2():
    """Blanks as U+2581, no pre-tokenizer, bytes for what has no token: merges learned on words."""
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    learned.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    alphabet = [chr(c) for c in range(32, 127)] + ["▁", "é", "ß"]
    learned.train_from_iterator([t.replace("\n", " ") for t in corpus()], trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], show_progress=False,
        initial_alphabet=alphabet, limit_alphabet=len(alphabet)))
    data = json.loads(learned.to_str())
    data["model"].update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    data["pre_tokenizer"] = None
    data["added_tokens"] = [{"id": i, "content": c, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                             "special": True} for i, c in enumerate(["<unk>", "<s>", "</s>"])]
    data["post_processor"] = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [
        {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    data["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return Tokenizer.from_str(json.dumps(data))


def metaspace(scheme, split):
    tokenizer = llama2()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=split)
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme, split=split)
    data = json.loads(tokenizer.to_str())
    data["normalizer"] = None
    return Tokenizer.from_str(json.dumps(data))


def normalized(steps):
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.add_tokens([AddedToken("É"), AddedToken("<TOOL>"), AddedToken("e\u0301", normalized=False), AddedToken("ﬁ", lstrip=True)])
    tokenizer.add_special_tokens([AddedToken("<|X|>", normalized=True)])
    return tokenizer


def bytes_as_characters():
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.normalizer = normalizers.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"Ġ?\w+|\W"), "isolated")
    return tokenizer


def post_processed(processor):
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processor
    return tokenizer


def other_ids():
    """As files are that were edited by hand: gaps, another order, and a token twice."""
    data = json.loads(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)).to_str())
    token = lambda id, content, **flags: {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                                          "normalized": False, "special": False, **flags}
    data["added_tokens"] += [token(1509, "<tool>"), token(1505, "</tool>"), token(7, "<tool>", special=True), token(1500, "word"),
                             token(1500, "")]
    return Tokenizer.from_str(json.dumps(data))


def with_added(tokenizer):
    tokenizer.add_tokens([AddedToken("<tool>", lstrip=True), AddedToken("</tool>", rstrip=True), AddedToken("word", single_word=True),
                          AddedToken("<both>", lstrip=True, rstrip=True, normalized=False), AddedToken("13"), AddedToken("314"),
                          AddedToken("1415"), AddedToken("ﷺ", normalized=False), AddedToken("  "), AddedToken("élan", single_word=True)])
    tokenizer.add_special_tokens([AddedToken("<|x|>"), AddedToken("<|x|>y", normalized=False)])
    return tokenizer


def decoder_chains():
    """Decoders with a byte-level step among others, and chains of the other steps."""
    level, fuse, strip = decoders.ByteLevel(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
    replace, fallback, across = decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Replace("th", "X")
    for chain in ([level, fuse], [fuse, level], [level, strip], [replace, level], [level, replace], [level, across], [fuse, across], [],
                  [replace, fallback, fuse, strip], [fallback, across, strip], [fuse, strip, replace], [strip, level, fuse, across]):
        yield chain


def with_decoder(tokenizer, chain):
    tokenizer.decoder = decoders.Sequence(chain) if chain is not None else None
    return tokenizer


def kinds():
    """Names, and what makes the tokenizer."""
    split = lambda pattern: pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    yield "gpt2", lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    yield "gpt2 with a blank before", lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    yield "llama3", lambda: byte_level(split(LLAMA3), bos=True, ignore_merges=True)
    yield "gpt4o", lambda: byte_level(split(GPT4O))
    yield "smollm", lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    yield "digits in runs", lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        yield f"split, {behavior}", lambda behavior=behavior: byte_level(pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(r"\s|-"), behavior), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))
    yield "split, inverted", lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{L}+"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))
    yield "llama2", llama2
    yield "metaspace, always", lambda: metaspace("always", True)
    yield "metaspace, first", lambda: metaspace("first", False)
    yield "metaspace, never", lambda: metaspace("never", True)
    gpt2 = functools.cache(lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)).to_str())
    for number, chain in enumerate(decoder_chains()):
        yield f"decoder-{number}", lambda chain=chain: with_decoder(Tokenizer.from_str(gpt2()), chain)
    yield "no decoder", lambda: with_decoder(llama2(), None)
    yield "added tokens", lambda: with_added(byte_level(split(LLAMA3), bos=True))
    yield "added tokens, llama2", lambda: with_added(llama2())
    for name, steps in (("NFC", [normalizers.NFC()]), ("NFD", [normalizers.NFD()]), ("NFKC", [normalizers.NFKC()]),
                        ("NFKD", [normalizers.NFKD()]), ("Lowercase", [normalizers.Lowercase()]),
                        ("Strip", [normalizers.Strip(left=True, right=False), normalizers.Strip(left=False, right=True)]),
                        ("NFD, StripAccents, Lowercase, Strip", [normalizers.NFD(), normalizers.StripAccents(),
                                                                normalizers.Lowercase(), normalizers.Strip()]),
                        ("Replace, NFC", [normalizers.Replace(Regex(r"\s{2,}"), " "), normalizers.NFC()])):
        yield name, lambda steps=steps: normalized(steps)
    yield "ByteLevel as a normalizer", bytes_as_characters
    yield "Roberta", lambda: post_processed(processors.RobertaProcessing(("<|end|>", 1), ("<|begin|>", 0)))
    yield "Bert, then a template", lambda: post_processed(processors.Sequence([
        processors.BertProcessing(("<|end|>", 1), ("<|begin|>", 0)), processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])]))
    yield "ids of added tokens", other_ids


SCRIPTS = [(0x20, 0x7E), (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5FF), (0x600, 0x6FF),
           (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF),
           (0x0, 0x1F), (0x80, 0x9F), (0x2000, 0x206F), (0x2070, 0x218F), (0x300, 0x36F), (0xFE00, 0xFE0F), (0x1D400, 0x1D7FF),
           (0x10000, 0x1FFFF), (0x30000, 0x323AF), (0xE0000, 0xE007F), (0xE000, 0xE0FF), (0x10FF00, 0x10FFFF)]
SNIPPETS = ["'s", "'LL", "'ſ", " don't", "\n", "\n\n", "\r\n", "\t", "  ", "   ", "    ", "1234567", "3.14", "٣٤", "½²Ⅷ", "<|begin|>",
            "<|end|>", "<tool>", "</tool>", "<both>", "word", "sword", "13", "314", "1415", "<|x|>y", "<|x|>", "ﷺ", "élan", "▁", "<0x0A>",
            "<s>", "</s>", "<unk>", "template <class T>", "http://x.y/z?a=b", "🦙", "👩‍👩‍👧", "🇩🇪", "\u200b", "\u00a0", "\u3000", "\u2028", "\ufeff",
            "İıK", "ß", "ﬁ", "e\u0301", "e\u0323\u0301", "É", "e\u0301", "<TOOL>", "가\u11a8", "\u1100\u1161", "ﷺ", "\x00", "\x7f", "a" * 40, "=" * 30, " " * 20]


def random_text(chance):
    parts = []
    for _ in range(chance.randint(0, 12)):
        kind = chance.random()
        if kind < 0.35:
            parts.append(chance.choice(SNIPPETS))
        elif kind < 0.95:
            low, high = chance.choice(SCRIPTS)
            parts.append("".join(chr(chance.randint(low, high)) for _ in range(chance.randint(1, 6))))
        else:
            parts.append(chr(chance.choice([c for c in (chance.randint(0, 0x10FFFF),) if not 0xD800 <= c <= 0xDFFF] or [0x20])))
        if chance.random() < 0.3:
            parts.append(" ")
    return "".join(parts)


def compare(program, name, tokenizer, texts, folder):
    path = Path(folder) / "tokenizer.json"
    tokenizer.save(str(path))
    result = subprocess.run([program, path], input=json.dumps(texts), capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{name}: {result.stderr}")
    for text, ours in zip(texts, json.loads(result.stdout), strict=True):
        theirs = {"ids": tokenizer.encode(text).ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids}
        theirs["text"] = theirs["stream"] = tokenizer.decode(theirs["ids"], skip_special_tokens=False)
        for key, expected in theirs.items():
            if ours[key] != expected:
                sys.exit(f"{name}: {key} differ on {text!r}\n  tokenizers {expected!r}\n  midus      {ours[key]!r}")
    print(f"{name}: {len(texts)} texts, equal", flush=True)


def compare_speed(program, name, tokenizer, folder):
    path, text = Path(folder) / "tokenizer.json", Path(folder) / "text"
    tokenizer.save(str(path))
    content = "\n".join(corpus()) * 4
    text.write_text(content, encoding="utf-8")
    seconds, count = subprocess.run([program, path, "--time", text], capture_output=True, text=True, check=True).stdout.split()
    lines = content.splitlines(keepends=True)  # `tokenizers` slows down on long texts
    best, theirs = 1e9, 0
    for _ in range(5):
        begin = time.perf_counter()
        theirs = sum(len(tokenizer.encode(line, add_special_tokens=False).ids) for line in lines)
        best = min(best, time.perf_counter() - begin)
    size = len(content.encode()) / 1e6
    print(f"{name}: midus {size / float(seconds):.1f} MB/s ({count} tokens), tokenizers {size / best:.1f} MB/s by lines "
          f"({theirs} tokens): {best / float(seconds):.1f} times as fast")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", metavar="ENCODE_JSON")
    parser.add_argument("--texts", type=int, default=1000, help="texts for each kind of tokenizer (default 1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", help="only these kinds, such as llama3 (default: all)")
    parser.add_argument("--time", action="store_true", help="compare the speed too")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    every = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    with tempfile.TemporaryDirectory() as folder:
        for name, make in kinds():
            if options.kinds and name not in options.kinds:
                continue
            tokenizer = make()
            texts = [random_text(chance) for _ in range(options.texts)]
            if name in ("gpt2", "llama3", "gpt4o", "smollm", "NFC", "NFKD", "Lowercase"):  # every code point, between letters
                texts += ["a".join(every[i:i + 500]) for i in range(0, len(every), 500)]
            compare(options.program, name, tokenizer, texts, folder)
        if options.time:
            for name, make in kinds():
                if name in ("gpt2", "llama3", "smollm"):
                    compare_speed(options.program, name, make(), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
