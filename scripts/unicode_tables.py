#!/usr/bin/env python3
"""Writes include/midus/text/unicode_tables.hpp and normalization_tables.hpp: Unicode as the `tokenizers` library has it.

    python scripts/unicode_tables.py [--check]      with a python that has `tokenizers` (PyPI); minutes

Asks the library itself, code point by code point: its regular expressions for general categories, scripts, what is
alphabetic and what folds to several letters, its pre-tokenizers for numbers and punctuation, an added token of a single word
for what is part of a word, and its normalizers for decompositions, the order of marks and lower case (the library has several
versions of Unicode in it). With --check it writes nothing and exits with 1 where a header is not what the library says.
"""

import sys
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

FOLDER = Path(__file__).resolve().parent.parent / "include/midus/text"
CATEGORIES = ["Cn", "Cc", "Cf", "Co", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc", "Pd", "Pe", "Pf",
              "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"]
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


ALL = "".join(map(chr, CODE_POINTS))
# Names of scripts, and behind a colon their codes in ISO 15924 where these are other words.
SCRIPTS = """Adlam:Adlm Ahom Anatolian_Hieroglyphs:Hluw Arabic:Arab Armenian:Armn Avestan:Avst Balinese:Bali Bamum:Bamu Bassa_Vah:Bass
Batak:Batk Bengali:Beng Bhaiksuki:Bhks Bopomofo:Bopo Brahmi:Brah Braille:Brai Buginese:Bugi Buhid:Buhd
Canadian_Aboriginal:Cans Carian:Cari Caucasian_Albanian:Aghb Chakma:Cakm Cham Cherokee:Cher Chorasmian:Chrs Common:Zyyy
Coptic:Copt:Qaac Cuneiform:Xsux Cypriot:Cprt Cypro_Minoan:Cpmn Cyrillic:Cyrl Deseret:Dsrt Devanagari:Deva Dives_Akuru:Diak
Dogra:Dogr Duployan:Dupl Egyptian_Hieroglyphs:Egyp Elbasan:Elba Elymaic:Elym Ethiopic:Ethi Garay:Gara Georgian:Geor
Glagolitic:Glag Gothic:Goth Grantha:Gran Greek:Grek Gujarati:Gujr Gunjala_Gondi:Gong Gurmukhi:Guru Gurung_Khema:Gukh Han:Hani
Hangul:Hang Hanifi_Rohingya:Rohg Hanunoo:Hano Hatran:Hatr Hebrew:Hebr Hiragana:Hira Imperial_Aramaic:Armi Inherited:Zinh:Qaai
Inscriptional_Pahlavi:Phli Inscriptional_Parthian:Prti Javanese:Java Kaithi:Kthi Kannada:Knda Katakana:Kana Kawi
Kayah_Li:Kali Kharoshthi:Khar Khitan_Small_Script:Kits Khmer:Khmr Khojki:Khoj Khudawadi:Sind Kirat_Rai:Krai Lao:Laoo
Latin:Latn Lepcha:Lepc Limbu:Limb Linear_A:Lina Linear_B:Linb Lisu Lycian:Lyci Lydian:Lydi Mahajani:Mahj Makasar:Maka
Malayalam:Mlym Mandaic:Mand Manichaean:Mani Marchen:Marc Masaram_Gondi:Gonm Medefaidrin:Medf Meetei_Mayek:Mtei
Mende_Kikakui:Mend Meroitic_Cursive:Merc Meroitic_Hieroglyphs:Mero Miao:Plrd Modi Mongolian:Mong Mro:Mroo Multani:Mult
Myanmar:Mymr Nabataean:Nbat Nag_Mundari:Nagm Nandinagari:Nand New_Tai_Lue:Talu Newa Nko:Nkoo Nushu:Nshu
Nyiakeng_Puachue_Hmong:Hmnp Ogham:Ogam Ol_Chiki:Olck Ol_Onal:Onao Old_Hungarian:Hung Old_Italic:Ital
Old_North_Arabian:Narb Old_Permic:Perm Old_Persian:Xpeo Old_Sogdian:Sogo Old_South_Arabian:Sarb Old_Turkic:Orkh
Old_Uyghur:Ougr Oriya:Orya Osage:Osge Osmanya:Osma Pahawh_Hmong:Hmng Palmyrene:Palm Pau_Cin_Hau:Pauc Phags_Pa:Phag
Phoenician:Phnx Psalter_Pahlavi:Phlp Rejang:Rjng Runic:Runr Samaritan:Samr Saurashtra:Saur Sharada:Shrd Shavian:Shaw
Siddham:Sidd SignWriting:Sgnw Sinhala:Sinh Sogdian:Sogd Sora_Sompeng:Sora Soyombo:Soyo Sundanese:Sund Sunuwar:Sunu
Syloti_Nagri:Sylo Syriac:Syrc Tagalog:Tglg Tagbanwa:Tagb Tai_Le:Tale Tai_Tham:Lana Tai_Viet:Tavt Takri:Takr Tamil:Taml
Tangsa:Tnsa Tangut:Tang Telugu:Telu Thaana:Thaa Thai Tibetan:Tibt Tifinagh:Tfng Tirhuta:Tirh Todhri:Todr Toto
Tulu_Tigalari:Tutg Ugaritic:Ugar Vai:Vaii Vithkuqi:Vith Wancho:Wcho Warang_Citi:Wara Yezidi:Yezi Yi:Yiii
Zanabazar_Square:Zanb""".split()


def is_known(pattern):
    try:
        Regex(pattern)
    except Exception:
        return False
    return True


def matched_by(pattern):
    """The code points that a pattern for one character matches."""
    split = pre_tokenizers.Split(Regex(pattern + "+"), "removed", invert=True)
    return {ord(c) for _, (begin, end) in split.pre_tokenize_str(ALL) for c in ALL[begin:end]}


def by_property(names):
    """For every code point the place of the name of its property among these, or -1; surrogates have that of their neighbours
    below, and never occur."""
    split = pre_tokenizers.Split(Regex("|".join(r"\p{%s}+" % name for name in names)), "isolated")
    runs = [span for _, span in split.pre_tokenize_str(ALL)]
    first = "".join(ALL[begin] for begin, _ in runs)  # of each run: all of it has the same
    place = [-1] * 0x110000
    for number, name in enumerate(names):
        members = pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed", invert=True).pre_tokenize_str(first)
        for _, (at, _) in members:
            for c in CODE_POINTS[slice(*runs[at])]:
                place[c] = number
    place[0xD800:0xE000] = [place[0xD7FF]] * 0x800
    return place


def categories():
    return [CATEGORIES[place] for place in by_property(CATEGORIES)]


def scripts():
    """The script of every code point, by its place in the list of names, which is returned too ("han:hani")."""
    known = [[name for name in entry.split(":") if is_known(r"\p{%s}" % name)] for entry in SCRIPTS]
    known = [names for names in known if names]
    assert len(set(sum(known, []))) == len(sum(known, []))  # of a name that is there twice the first one would have no members
    script = [1 + place for place in by_property([names[0] for names in known])]
    return script, ["unknown"] + [":".join(name.lower().replace("_", "") for name in names) for names in known]


def multiple_folds():
    """Letters that are several in lower case to a regular expression that passes over case, and these."""
    out = []
    for c in CODE_POINTS:
        folded = chr(c).casefold()
        if len(folded) > 1 and pre_tokenizers.Split(Regex(f"(?i:{folded})"), "removed").pre_tokenize_str(chr(c)) == []:
            out += [chr(c), folded]
    return out


def numbers():
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODE_POINTS if len(digits.pre_tokenize_str("!" + chr(c))) == 2}


def punctuation():
    split = pre_tokenizers.Punctuation("removed")
    return {c for c in CODE_POINTS if not split.pre_tokenize_str(chr(c))}


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


def text_list(texts):
    """As C++: every character that is not a letter of ASCII by its number, each text in quotes."""
    return ", ".join('U"' + "".join(c if c.isascii() and c.isalpha() else f"\\U{ord(c):08x}" for c in text) + '"' for text in texts)


def wrapped(text, width=118):
    lines, line = [], "   "
    for word in text.split(" "):
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = "   "
        line += " " + word
    return "\n".join(lines + [line])


def classes_header():
    category = categories()
    of = lambda *names: {c for c in CODE_POINTS if category[c].startswith(names)}
    runs_of = lambda values: [c for c in range(0x110000) if c == 0 or values[c] != values[c - 1]]
    script, script_names = scripts()
    alphabetic, lower, upper = (matched_by(r"\p{%s}" % name) for name in ("Alphabetic", "Lowercase", "Uppercase"))
    assert of("L", "Nl") <= alphabetic and of("Ll") <= lower and of("Lu") <= upper
    word, white_space = matched_by("[[:word:]]"), matched_by(r"\s")
    assert matched_by(r"\w") == word | set(map(ord, "²³¹¼½¾"))  # unicode.hpp says so
    own = {"alpha": alphabetic, "alnum": alphabetic | of("Nd"), "blank": of("Zs") | {9}, "cntrl": of("Cc"), "digit": of("Nd"),
           "lower": lower, "upper": upper, "punct": of("P", "S"), "space": white_space, "word": word,
           "ascii": set(range(128)), "xdigit": set(map(ord, "0123456789abcdefABCDEF"))}
    own["graph"] = set(CODE_POINTS) - white_space - of("Cc", "Cn", "Cs")
    own["print"] = (own["graph"] | of("Zs")) - of("Cc")
    for name, expected in own.items():  # how unicode.hpp makes them
        assert matched_by(f"[[:{name}:]]") == expected, name
    return f"""// Unicode classes as the `tokenizers` library {tokenizers.__version__} has them: made by scripts/unicode_tables.py.
#pragma once

#include <cstdint>

namespace midus::detail {{

// clang-format off
/// The general categories that the runs below name by their place.
inline constexpr const char* unicode_categories[] = {{
{wrapped(", ".join(f'"{name}"' for name in CATEGORIES))}}};

/// Runs of one category, in order: first code point << 5 | category.
inline constexpr std::uint32_t unicode_runs[] = {{
{listing([hex(c << 5 | CATEGORIES.index(category[c])) for c in runs_of(category)])}
}};

/// The scripts that the runs below name by their place, and behind a colon their codes.
inline constexpr const char* unicode_scripts[] = {{
{wrapped(", ".join(f'"{name}"' for name in script_names))}}};

/// Runs of one script, in order: first code point << 8 | script.
inline constexpr std::uint32_t script_runs[] = {{
{listing([hex(c << 8 | script[c]) for c in runs_of(script)])}
}};

/// White space: where it begins and ends (the first code point behind it), in turns.
inline constexpr std::uint32_t white_space_edges[] = {{
{listing(edges(white_space))}
}};

/// What is alphabetic beside the categories L and Nl, lower case beside Ll, upper case beside Lu.
inline constexpr std::uint32_t more_alphabetic_edges[] = {{
{listing(edges(alphabetic - of("L", "Nl")))}
}};
inline constexpr std::uint32_t more_lower_edges[] = {{
{listing(edges(lower - of("Ll")))}
}};
inline constexpr std::uint32_t more_upper_edges[] = {{
{listing(edges(upper - of("Lu")))}
}};

/// \\w in brackets of a regular expression.
inline constexpr std::uint32_t regex_word_edges[] = {{
{listing(edges(word))}
}};

/// Code points that the pre-tokenizer Digits takes for numbers beside the categories Nd, Nl and No.
inline constexpr std::uint32_t more_number_edges[] = {{
{listing(edges(numbers() - of("Nd", "Nl", "No")))}
}};

/// What the pre-tokenizer Punctuation takes for punctuation.
inline constexpr std::uint32_t punctuation_edges[] = {{
{listing(edges(punctuation()))}
}};

/// What is part of a word to an added token of a single word, and to the pre-tokenizer Whitespace.
inline constexpr std::uint32_t word_edges[] = {{
{listing(edges(word_characters()))}
}};

/// A letter that is several where case is passed over, and these, in turns.
inline constexpr const char32_t* multiple_folds[] = {{
{wrapped(text_list(multiple_folds()))}}};
// clang-format on

}}  // namespace midus::detail
"""


def combining_classes(marks, nfd):
    """A class for each mark that canonical order moves: marks of one class keep their order, the lower go first."""
    before = lambda a, b: a != b and nfd("a" + chr(b) + chr(a)) == "a" + chr(a) + chr(b)  # b moves behind a
    movable, classes = [], []  # one mark of each class, in order
    for c in marks:
        if any(before(c, other) or before(other, c) for other in (0x334, 0x315, 0x345)):
            movable.append(c)
    for c in movable:
        at = 0
        while at < len(classes) and before(classes[at], c):
            at += 1
        if at == len(classes) or before(c, classes[at]):
            classes.insert(at, c)
    return {c: next(1 + i for i, other in enumerate(classes) if not before(other, c)) for c in movable}


def normalization_header():
    nfc, nfd, nfkd = (kind().normalize_str for kind in (normalizers.NFC, normalizers.NFD, normalizers.NFKD))
    lower, strip_accents = normalizers.Lowercase().normalize_str, normalizers.StripAccents().normalize_str
    canonical, compatible, lowered = [], [], []
    mapped = {}
    for c in CODE_POINTS:
        text = chr(c)
        if 0xAC00 <= c < 0xD7A4:
            continue  # reckoned, not listed
        if nfd(text) != text:
            parts = nfd(text)
            canonical += [c << 8 | (0x80 if nfc(text) == text and len(parts) > 1 else 0) | len(parts), *map(ord, parts)]
        if nfkd(text) != nfd(text):
            compatible += [c << 8 | len(nfkd(text)), *map(ord, nfkd(text))]
        if lower(text) != text:
            mapped[c] = lower(text)
    several = {c: text for c, text in mapped.items() if len(text) > 1}
    assert several == {0x130: "i\u0307"}  # normalization.hpp says so
    left = {c: ord(text) for c, text in mapped.items() if len(text) == 1}
    while left:  # runs of every, or every second code point with one distance
        first = min(left)
        distance = left[first] - first
        step = 1 if left.get(first + 1, 0) - first - 1 == distance else 2
        last = first
        while left.get(last + step, -1) - last - step == distance:
            last += step
        for c in range(first, last + 1, step):
            del left[c]
        lowered += [first, last, step, distance]
    accents = {c for c in CODE_POINTS if strip_accents(chr(c)) == ""}
    marks = sorted(c for c in accents | matched_by(r"\p{M}") if nfd("a" + chr(c)) == "a" + chr(c))
    classes = combining_classes(marks, nfd)
    runs, before = [], 0
    for c in sorted(classes):
        if not (runs and c == before + 1 and runs[-1] & 0xFF == classes[c]):
            if runs and c != before + 1:
                runs.append((before + 1) << 8)
            runs.append(c << 8 | classes[c])
        before = c
    runs.append((before + 1) << 8)
    return f"""// Normalization as the `tokenizers` library {tokenizers.__version__} has it: made by scripts/unicode_tables.py.
#pragma once

#include <cstdint>

namespace midus::detail {{

// clang-format off
/// Canonical decompositions, in order: code point << 8 | 0x80 where NFC makes the code point of them again | how many follow.
inline constexpr std::uint32_t canonical_decompositions[] = {{
{listing(map(hex, canonical))}
}};

/// Those of NFKD where they are others.
inline constexpr std::uint32_t compatible_decompositions[] = {{
{listing(map(hex, compatible))}
}};

/// Runs of one combining class, in order: first code point << 8 | class. The classes keep their order, not their numbers.
inline constexpr std::uint32_t combining_class_runs[] = {{
{listing(map(hex, [0] + runs))}
}};

/// Lower case, but for U+0130: first and last code point, step, and how far the small letter lies behind.
inline constexpr std::int32_t lower_case_runs[] = {{
{listing(lowered)}
}};

/// What StripAccents takes away.
inline constexpr std::uint32_t accent_edges[] = {{
{listing(edges(accents))}
}};
// clang-format on

}}  // namespace midus::detail
"""


def main():
    status = 0
    for name, found in (("unicode_tables.hpp", classes_header()), ("normalization_tables.hpp", normalization_header())):
        path = FOLDER / name
        if "--check" not in sys.argv:
            path.write_text(found, encoding="utf-8")
            continue
        without_version = lambda text: text.split("\n", 1)[1]
        if without_version(path.read_text(encoding="utf-8")) == without_version(found):
            print(f"{name} is what tokenizers {tokenizers.__version__} says")
        else:
            print(f"{name} is not what tokenizers {tokenizers.__version__} says: run scripts/unicode_tables.py")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
