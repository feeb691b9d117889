"""The two texts of the quickstart, from Debian packages.

wordnet(path) writes a line "words: gloss" for every synset of WordNet 3.0 (package wordnet-base);
bible(path) writes the King James Bible, a verse a line (packages bible-kjv, bible-kjv-text).
"""

import subprocess
from pathlib import Path

WORDNET = Path("/usr/share/wordnet")
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")


def synset_line(line):
    """The line of a data file of WordNet (man 5 wndb) as "word, word: gloss"; None for its licence text."""
    if line.startswith("  "):
        return None
    fields, _, gloss = line.partition(" | ")
    fields = fields.split(" ")
    count = int(fields[3], 16)
    words = [fields[4 + 2 * i] for i in range(count)]
    # An adjective may carry its syntactic place, as in galore(ip).
    words = [word.partition("(")[0].replace("_", " ") for word in words]
    return f"{', '.join(words)}: {gloss.strip()}"


def wordnet(path):
    """Writes WordNet's glosses."""
    with open(path, "w", encoding="utf-8") as out:
        for part in PARTS_OF_SPEECH:
            with open(WORDNET / f"data.{part}", encoding="utf-8") as data:
                for line in data:
                    text = synset_line(line)
                    if text is not None:
                        out.write(text + "\n")


def bible(path):
    """Writes the King James Bible."""
    with open(path, "wb") as out:
        subprocess.run(["bible", "-f", "gen1:1-rev22:21"], stdout=out, check=True)
