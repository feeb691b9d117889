#!/usr/bin/env python3
"""Compares how midus and the `tokenizers` library cut texts: the expressions of known model families, and others.

    python test/tokenizers/pre_tokenizers.py ENCODE_JSON [--texts N] [--random N [--seed S]]

For each of the pre-tokenizers below (those of the model families that llama.cpp's table of pre-tokenizers names, as their
tokenizer.json spells them, and one for each construct of Oniguruma that midus translates) and each of N texts (default 20, at
most 219: all scripts, numbers, code, white space): the same pieces and the same ids, or refused by both. With --random also N
expressions put together at random, which midus may refuse (how many it did is printed). Exits with 1 where they differ.
"""

import argparse
import json
import random
import subprocess
import sys

import check  # sets up the environment, and ends where there is no `tokenizers`
from tokenizers import Tokenizer, models

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = check.LLAMA3
WORDS = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s|")
REST = r"%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HIRAGANA_AND_MORE = "[一-龥぀-ゟ゠-ヿ]+"
MARKED = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
LETTERS = ("[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-"
           "ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KIMI_UPPER, KIMI_LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
UPPER_BY_LOOKING, LOWER_BY_LOOKING = r"((?=[\p{L}%s])([^a-z]))", r"((?=[\p{L}%s])([^A-Z]))"


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def byte_level(use_regex=False, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def digits(individual=True):
    return {"type": "Digits", "individual_digits": individual}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def splits(*patterns):
    return sequence(*map(split, patterns), byte_level())


def by_looking(more, contractions):
    upper, lower = UPPER_BY_LOOKING % more, LOWER_BY_LOOKING % more
    return (r"[^\r\n\p{L}\p{N}]?" + upper + "*" + lower + "+" + contractions + r"|[^\r\n\p{L}\p{N}]?" + upper + "+" + lower + "*" +
            contractions + "|" + REST % r"\p{N}{1,3}")


FAMILIES = {
    "Llama 3": splits(LLAMA3),
    "GPT-2": byte_level(True),
    "RoBERTa": byte_level(True, True),
    "StarCoder, Command R, SmolLM, EXAONE": sequence(digits(), byte_level(True)),
    "Falcon": sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True), digits(False), split("[0-9][0-9][0-9]")),
    "Qwen 2, StableLM 2": splits(QWEN2),
    "Qwen 3.5": splits(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "Jais 2": splits(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" +
                     "|".join(r"\s{%s}(?!\S)" % n for n in ("512", "256", "128", "64", "32", "16", "8", "4", "1,2")) + r"|\s{1}"),
    "DeepSeek LLM": sequence(*map(split, ("[\r\n]", r"\s?" + LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+")),
                             digits(), byte_level()),
    "DeepSeek Coder": sequence(*map(split, ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+")), digits(), byte_level()),
    "DeepSeek V3, Hunyuan": splits(r"\p{N}{1,3}", HIRAGANA_AND_MORE, MARKED),
    "JoyAI": splits(r"\p{N}{1,3}", HIRAGANA_AND_MORE, MARKED.replace(r"\r\n", "\r\n")),
    "Spark 2.5": splits(r"\p{N}{1,3}", HIRAGANA_AND_MORE, MARKED.replace(r"[\r\n]*|\s*[\r\n]+", "|[\r\n]"), r"\p{N}"),
    "Youtu": splits("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + HIRAGANA_AND_MORE,
                    WORDS % ((CONTRACTIONS + "?",) * 2) + REST % r"\p{N}"),
    "GPT-4": splits(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"),
    "GPT-4o, MiniMax M2, Llama 4": splits(WORDS % ((CONTRACTIONS + "?",) * 2) + REST % r"\p{N}{1,3}"),
    "GPT-4o by looking ahead": splits(by_looking("", "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?")),
    "Granite Embedding": splits(by_looking(r"\p{M}", CONTRACTIONS + "?")),
    "Tekken": splits(WORDS % ("", "") + REST % r"\p{N}"),
    "Tekken by looking ahead": splits(by_looking("", "").replace("{1,3}", "")),
    "Tiny Aya": splits(r"\d{1,3}(?=(?:\d{3})*\b)", WORDS % ((CONTRACTIONS + "?",) * 2) + REST % r"\p{N}{1,3}"),
    "Kimi K2": splits(r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?" + KIMI_UPPER + "*" + KIMI_LOWER + "+" + CONTRACTIONS + r"?|[^\r\n\p{L}\p{N}]?" +
                      KIMI_UPPER + "+" + KIMI_LOWER + "*" + CONTRACTIONS +
                      r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "SuperBPE": splits(r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
    "Bloom, Poro, GPT-3 Finnish": splits(BLOOM),
    "Viking": sequence(split(BLOOM), digits(), byte_level()),
    "Chameleon": sequence(split("<sentinel:[0-9]+>"), split("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"), split(r"([\t\n]|    |  )"), digits(),
                          {"type": "Punctuation", "behavior": "Isolated"}, byte_level(True)),
    "GLM 4": splits(LLAMA3.replace("(?i:", "(?i:")),
    "Bailing": splits(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"),
    "Seed Coder": splits(CONTRACTIONS + "|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
    "Ufakzeka": splits(QWEN2[len(CONTRACTIONS) + 1:]),
    "Grok 2": splits(QWEN2),
    "AFMoE": splits(r"(?<!\d)\d{1,2}(?=(?:\d{3})+(?!\d))|\d{3}",
                    "[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+", MARKED),
    "Laguna": splits(r"[^\n]+|[\n]+", QWEN2),
    "EXAONE MoE": splits(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|"
                         r"\s+(?!\S)|\s+"),
    "Gemma 4, Sarvam": split(r"[^\n]+|[\n]+"),
    "MiniCPM 5": splits(r"\p{N}{1,3}", CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "Jina, Chinese": {"type": "Whitespace"},
    "by default": sequence(split(r"[\p{P}\$\+<=>\^~\|]+"), split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
                           split(r"\p{N}+"), split("[0-9][0-9][0-9]"), byte_level()),
}

# What else midus translates, each with what is easily read otherwise.
CONSTRUCTS = [
    r"\b", r"\B", r"\b\w+\b", r"\bab?\b|\d\B", r"\w+", r"\W+", r"[\w]", r"[^\w\s]+", r"\h+", r"[\h-]+|\H", r"\R", r"\R+", r"\r\R|\R\n", r"\N+", r"\O",
    r"\Z", r"\s+\Z", r"a\z|\Aa", r"^.|.$", r"[[:alpha:]]+", r"[[:^alpha:]]", r"[^[:alpha:]]+", r"[[:alpha:][:digit:]_]+", r"[[:punct:]]", r"[[:upper:]]",
    r"[[:lower:]]+", r"[[:space:]]", r"[[:blank:]]+", r"[[:cntrl:]]", r"[[:graph:]]+", r"[[:print:]]+", r"[[:word:]]+", r"[[:xdigit:]]+",
    r"[[:ascii:]]+", r"[[:alnum:]]+", r"\p{Alpha}+", r"\p{alnum}", r"\p{Punct}", r"\p{^Upper}", r"\P{Lower}+", r"\p{Any}", r"\p{Assigned}+",
    r"\p{ASCII}+", r"\p{Han}+", r"\p{^Han}+", r"\P{Han}", r"\p{Latin}+|\p{Cyrillic}+", r"\p{hiragana}|\p{KATAKANA}", r"\p{Hani}", r"\p{ Greek }",
    r"\p{Old_Italic}", r"\p{Common}+", r"\p{Inherited}", r"\p{Unknown}", r"\p{Letter}+", r"\p{Uppercase_Letter}", r"\p{uppercase letter}",
    r"\p{Lowercase}", r"\p{White_Space}+", r"\p{LC}+", r"\p{Yi}", r"[\p{Han}\p{Hiragana}]+", r"[a[bc]d]+", r"[a[^b]]", r"[^a[^b]]", r"[^a[b]]+",
    r"[[a-z]&&[aeiou]]+", r"[a-z&&[^aeiou]]+", r"[^a-z&&[^aeiou]]+", r"[\p{L}&&\p{ASCII}]+", r"[\p{L}&&[^\p{Han}]&&[^a-f]]+", r"[a&&]", r"[^a&&]",
    r"[&&a]", r"[a&b]", r"[]a]+", r"[^]a]+", r"[a-]+", r"[-a]+", r"[a-c-e]+", r"[[a]-z]+", r"[--/]", r"[a\-z]+", r"[\]\[]", r"[\b]", r"[\x41-\x5a]+",
    r"[[]]", r"[a-z&&b-d-]+", r"a{2}?", r"a{2}??", r"a{1,3}+", r"a{1,2}+b", r"a{3,1}", r"a{3,1}a", r"a{2}{3}", r"a{,2}", r"a{2,}?", r"a{,2}?b", r"a{x",
    r"a{,}", r"a{", r"a{1,3}*", r"a**", r"a+*", r"a*?b", r"a?+a", r"(?:ab){2}+", r"(?:ab)*+a", r"a++b|ab", r"(?<x>a)(b)", r"(?<x1>a+)(?'y'b)?",
    r"a(?#c)+", r"a(?#c\)d)b", r"(?#c)", r"(?i)ab", r"a(?i)b|c", r"(?i:a)b", r"(?-i:a)(?i)b", r"(?i:a(?-i:b)c)", r"(?i)k", r"(?i)\x{212a}", r"(?i)[k-m]+",
    r"(?i)\p{Lu}", r"(?i)[\p{Lu}]", r"(?i)[^k]", r"(?i)\bab\b", r"(?i)é", r"(?i)σ", r"(?m:a.b)", r"(?m).", r"(?im:A.)", r"(?m-i:.)", r"(?i)[a-z&&[^e]]+",
    r"\xc3\xa9", r"\x41", r"\u00e9", r"\x{e9}", r"[\xc3\xa9]", r"\07", r"\t|\v|\f|\a|\e", r"\-\!\ \é", r"(?<=a)b|(?<!a)c", r"(?>a+)b", r"(?=a)|(?!b)c",
    r"(?<=\b)a", r"]|}", r"a|", r"|a", r"()", r"(?:)*a", r"(a*)*", r"(?:a|b)*?c", "é+|ß", r"\p{Garay}", r"\p{Kawi}+",
    # Refused by both, or by midus alone: never read in another way.
    r"(?i)ss", r"(?i)ß", r"(?i)[ß]", r"(?i)s(?:s)", r"(?i)s{2}", r"(?i)ﬁ", r"(?i:st)", r"(?i)[\p{L}]", r"\xe8", r"[\d-z]", r"[a-\d]", r"[[:foo:]]",
    r"[[:alpha]", r"[]", r"[b-a]", r"\p{Foo}", r"\p{L&}", r"\p{Script=Han}", r"\p{}", r"\p{L", r"(?P<x>a)", r"(?<1>a)", r"(?x: a)", r"(?W:a)", r"*a", r"a|*",
    r"(?=a)*b", r"(a", r"a)", r"\1", r"\k<a>", r"\X", r"\K", r"\G", r"(?~a)", r"(?(1)a)", r"(*FAIL)", r"\x", r"\u12", "\\", r"[a", r"a{100001}",
]
OTHERS = {
    **{f"expression {pattern}": split(pattern) for pattern in CONSTRUCTS},
    **{f"Split, {behavior}, {invert}": split(r"\s|\b", behavior, invert) for invert in (False, True)
       for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")},
    **{f"Punctuation, {behavior}": {"type": "Punctuation", "behavior": behavior}
       for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")},
    "Punctuation": {"type": "Punctuation"},
    "Whitespace": {"type": "Whitespace"},
    "WhitespaceSplit": {"type": "WhitespaceSplit"},
    "BertPreTokenizer": {"type": "BertPreTokenizer"},
    **{f"CharDelimiterSplit {delimiter}": {"type": "CharDelimiterSplit", "delimiter": delimiter} for delimiter in " é[-🦙"},
    **{f"FixedLength {length}": {"type": "FixedLength", "length": length} for length in (1, 2, 5, 300)},
    "FixedLength": {"type": "FixedLength"},
    "bytes first": sequence(byte_level(True), digits(False)),
    "bytes twice": sequence(byte_level(), byte_level()),
    "bytes, then words": sequence(byte_level(False, True), split(r"\w+")),
}


def texts():
    """219: what is in the other test's snippets, and mixtures of all scripts."""
    fixed = ["", " ", "\n", "a b", "don't DON'T I'LL we'Ve o'clock 'S", "abcabcaab aaaaaaa ab AB aB ba\nab\r\nb", "x = 12345678;\n\ty[3] += 0x7fFF; // end\n\n",
             "1 12 123 1234 12345 123456 1234567 12,345.67 ٣٤٥٦ ١٢٣٤ ½²Ⅷ ⅷ 一二三", "def f(a, b):\n    return a_b-c / d  # [x]{y}\n\n\n", "漢字かなカナ한글，。「」、Latin кириллица",
             "e\u0301te\u0301 ésß ẞ ſ K k ﬁ ﬆ ŉ ǰ İ i̇ ı", "   three   spaces\t\ttabs\r\n\r\nlines \n \n x", "🦙👩‍👩‍👧🇩🇪\u200d\u200c\u200b\ufeff", "https://a.b/c?d=e&f#g",
             "a.b,c!d?e…f。g，h、i।j۔k،l(m)n|o", "ΑΣ σς Ω µ", "a&b]c[d-e^f&&g", "\x00\x01\x07\x08\x0b\x0c\x1b\x7f\x85\u2028\u2029\u00a0\u3000", "IMGIMGABBCZ <sentinel:12>  x    y",
             "s ss SS st ST ff fi ffl", "日本語のテキスト１２３ 中文abc 漢 ﷺ ꀀꀁ 𐌀𐌁 \U0001e900\U00010d50\U00011f00"]
    fixed += check.SNIPPETS
    fixed += ["".join(chr(c) for c in range(low, min(high, low + 60) + 1)) for low, high in check.SCRIPTS[3:]]
    chance = random.Random(7)
    while len(fixed) < 219:
        fixed.append(check.random_text(chance))
    assert len(fixed) == 219
    return fixed


PARTS = ["a", "b", "ab", " ", r"\s", r"\S", r"\d", r"\w", r"\W", r"\b", r"\B", r"\h", r"\R", r"\N", r"\O", r"\p{L}", r"\p{Lu}", r"\P{N}", r"\p{Han}", r"\p{^Latin}",
         "[a-c]", "[^a]", "[a[^b]]", r"[\w&&[^a]]", "[[:alpha:]]", "[[:^digit:]-]", r"[^\s\d]", r"[a-c[:upper:]&&\p{L}]", ".", "^", "$", r"\A", r"\z", r"\Z", "é", "k", "S",
         "(?=a)", "(?!b)", "(?<=a)", "(?<![ab])", "(?#x)", r"\x41", r"\n", "1", "-", "'"]
REPEATS = ["", "", "", "", "*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{,2}", "{2,}", "{2}?", "{1,2}?", "{1,2}+", "{2,1}", "{2}+", "{0}",
           "**", "+?+", "{2}{2}", "{1,2}*"]
GROUPS = ["(", "(?:", "(?>", "(?i:", "(?-i:", "(?m:", "(?<n>", "(?i)", "(?=", "(?!", "(?im-i:"]


def random_pattern(chance, depth=0):
    out = []
    for _ in range(chance.randint(1, 4)):
        if depth < 3 and chance.random() < 0.25:
            group = chance.choice(GROUPS)
            inner = random_pattern(chance, depth + 1)
            out.append(group + inner + ("" if group == "(?i)" else ")" + chance.choice(REPEATS)))
        else:
            out.append(chance.choice(PARTS) + chance.choice(REPEATS))
        if chance.random() < 0.15:
            out.append("|")
    return "".join(out)


def base():
    """Merges of this repository's text over all bytes, as characters of a byte-level vocabulary."""
    tokenizer = json.loads(check.byte_level(check.pre_tokenizers.ByteLevel(add_prefix_space=False), vocab_size=600).to_str())
    tokenizer["model"]["unk_token"] = "<|end|>"  # for vocabularies that are not of bytes
    return tokenizer


def theirs(tokenizer, pre_tokenizer, every):
    """Pieces and ids, or what `tokenizers` says."""
    try:
        made = Tokenizer.from_str(json.dumps({**tokenizer, "pre_tokenizer": pre_tokenizer}))
        return [{"pieces": [piece for piece, _ in made.pre_tokenizer.pre_tokenize_str(text)],
                 "ids": made.encode(text, add_special_tokens=False).ids} for text in every]
    except BaseException as error:  # what Rust calls a panic is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return str(error)


def compare(program, tokenizer, named, every):
    """How many midus alone refuses, by name; ends with 1 where the two differ."""
    task = {"tokenizer": tokenizer, "pre_tokenizers": list(named.values()), "texts": every}
    result = subprocess.run([program, "--pre-tokenizers"], input=json.dumps(task), capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr)
    refused, faults = [], 0
    for (name, pre_tokenizer), ours in zip(named.items(), json.loads(result.stdout), strict=True):
        expected = theirs(tokenizer, pre_tokenizer, every)
        if isinstance(ours, str):
            if not isinstance(expected, str):
                refused.append((name, ours))
            continue
        if isinstance(expected, str):
            print(f"{name}: tokenizers says {expected}; midus reads it")
            continue
        for text, one, other in zip(every, ours, expected, strict=True):
            if one != other:
                print(f"{name} ({json.dumps(pre_tokenizer)}): they differ on {text!r}\n  tokenizers {other!r}\n  midus      {one!r}")
                faults += 1
                break
    if faults:
        sys.exit(f"{faults} of {len(named)} differ")
    return refused


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", metavar="ENCODE_JSON")
    parser.add_argument("--texts", type=int, default=20, help="texts for each pre-tokenizer, at most 219 (default 20)")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N random expressions too")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tokenizer, every = base(), texts()
    count = max(1, min(options.texts, len(every)))
    some = every[:count] if count < 22 else every[:21] + random.Random(3).sample(every[21:], count - 21)
    refused = compare(options.program, tokenizer, FAMILIES, some)
    if refused:
        sys.exit(f"refused by midus alone: {refused}")
    print(f"the pre-tokenizers of {len(FAMILIES)} model families: {len(some)} texts each, equal")
    refused = compare(options.program, tokenizer, OTHERS, some)
    print(f"{len(OTHERS)} others: equal, or refused ({len(refused)} by midus alone: "
          f"{'; '.join(name.removeprefix('expression ') for name, _ in refused)})")
    if options.random:
        chance = random.Random(options.seed)
        named = {}
        while len(named) < options.random:
            pattern = random_pattern(chance)
            named[f"expression {pattern}"] = split(pattern, chance.choice(["Isolated", "Removed", "Contiguous"]))
        refused = compare(options.program, tokenizer, named, every[:21] + [check.random_text(chance) for _ in range(10)])
        print(f"{len(named)} random expressions: equal, or refused ({len(refused)} by midus alone)")
        reasons = {}
        for _, message in refused:
            reason = message.rsplit(": ", 1)[-1]
            reasons[reason] = reasons.get(reason, 0) + 1
        for reason, number in sorted(reasons.items(), key=lambda item: -item[1])[:8]:
            print(f"  {number}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
