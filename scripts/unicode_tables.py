#!/usr/bin/env python3
"""Writes include/midus/text/unicode_tables.hpp: the Unicode classes as the `tokenizers` library has them.

    python scripts/unicode_tables.py [--check]      with a python that has `tokenizers` (PyPI)

Asks the library itself, code point by code point: its regular expressions for the general categories and for white
space, its pre-tokenizer Digits for numbers, and an added token of a single word for what is part of a word. With
--check it writes nothing and exits with 1 where the header is not what the library says.
"""

import sys
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

HEADER = Path(__file__).resolve().parent.parent / "include/midus/text/unicode_tables.hpp"
CATEGORIES = ["Cn", "Cc", "Cf", "Co", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc", "Pd", "Pe", "Pf",
              "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"]
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def matched_by(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in CODE_POINTS if not split.pre_tokenize_str(chr(c))}


def categories():
    """The category of every code point; surrogates have that of their neighbours below, and never occur."""
    category = ["Cn"] * 0x110000
    for name in CATEGORIES[1:]:
        for c in matched_by(r"\p{%s}" % name):
            category[c] = name
    for c in range(0xD800, 0xE000):
        category[c] = category[0xD7FF]
    return category


def numbers():
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODE_POINTS if len(digits.pre_tokenize_str("!" + chr(c))) == 2}


def word_characters():
    tokenizer = Tokenizer(models.BPE(vocab={"X": 0}, merges=[]))
    tokenizer.add_tokens([AddedToken("Y!", single_word=True)])
    added = tokenizer.token_to_id("Y!")
    return {c for c in CODE_POINTS if added not in tokenizer.encode(chr(c) + "Y!").ids}


def edges(members):
    """Where a set begins and ends, in turns."""
    out = []
    for c in sorted(members):
        if out and out[-1] == c:
            out[-1] = c + 1
        else:
            out += [c, c + 1]
    return out


def listing(numbers_, width=118):
    lines, line = [], "   "
    for number in numbers_:
        word = f" {number},"
        if len(line) + len(word) > width:
            lines.append(line)
            line = "   "
        line += word
    return "\n".join(lines + [line])


def header():
    category = categories()
    runs = [c for c in range(0x110000) if c == 0 or category[c] != category[c - 1]]
    packed = [hex(c << 5 | CATEGORIES.index(category[c])) for c in runs]
    white_space = matched_by(r"\s")
    number = {c for c in range(0x110000) if category[c] in ("Nd", "Nl", "No")}
    names = ", ".join(f'"{name}"' for name in CATEGORIES)
    return f"""// Unicode classes as the `tokenizers` library {tokenizers.__version__} has them: made by scripts/unicode_tables.py.
#pragma once

#include <cstdint>

namespace midus::detail {{

// clang-format off
/// The general categories that the runs below name by their place.
inline constexpr const char* unicode_categories[] = {{
    {names}}};

/// Runs of one category, in order: first code point << 5 | category.
inline constexpr std::uint32_t unicode_runs[] = {{
{listing(packed)}
}};

/// White space: where it begins and ends (the first code point behind it), in turns.
inline constexpr std::uint32_t white_space_edges[] = {{
{listing(edges(white_space))}
}};

/// Code points that the pre-tokenizer Digits takes for numbers beside the categories Nd, Nl and No.
inline constexpr std::uint32_t more_number_edges[] = {{
{listing(edges(numbers() - number))}
}};

/// What is part of a word to an added token of a single word.
inline constexpr std::uint32_t word_edges[] = {{
{listing(edges(word_characters()))}
}};
// clang-format on

}}  // namespace midus::detail
"""


def main():
    found = header()
    if "--check" not in sys.argv:
        HEADER.write_text(found, encoding="utf-8")
        return 0
    without_version = lambda text: text.split("\n", 1)[1]
    if without_version(HEADER.read_text(encoding="utf-8")) == without_version(found):
        print("the Unicode tables are those of tokenizers", tokenizers.__version__)
        return 0
    print(f"{HEADER.name} is not what tokenizers {tokenizers.__version__} says: run scripts/unicode_tables.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
