#!/usr/bin/env bash
# Expressions of a tokenizer.json are read by Oniguruma, not as in Perl, Python or PCRE2: a + behind an interval is no mark of a
# possessive repeat, a ? behind {n} makes it optional, (?i) holds beyond the | behind it, \p{Punct} is not [[:punct:]], and \w is not
# [\w]: outside of brackets ² ³ ¹ ¼ ½ ¾ are part of a word. Some of these stand in well-known models' files (GPT-4's \p{N}{1,3}+).
#
# Input: expressions and texts. Seen with tokenizers 0.23.3 (Oniguruma 6.9): the matches below.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cat >"$work/try.py" <<'PYTHON'
from tokenizers import Regex, pre_tokenizers

for pattern, text in ((r"a{1,2}+b", "aab"), (r"a{1,3}+", "aaaaa"), (r"ba{3}?", "baaa ba"), (r"a(?i)b|c", "c aC ab"),
                      (r"\p{Punct}", "$-"), (r"[[:punct:]]", "$-"), (r"\w", "a²"), (r"[\w]", "a²")):
    matches = pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text)
    print(pattern, "in", text + ":", *(match for match, _ in matches))
PYTHON
verdict "$("$(python_with tokenizers==0.23.3)" "$work/try.py")" 'a{1,2}+b in aab: aab
a{1,3}+ in aaaaa: aaaaa
ba{3}? in baaa ba: baaa b
a(?i)b|c in c aC ab: aC ab
\p{Punct} in $-: -
[[:punct:]] in $-: $ -
\w in a²: a ²
[\w] in a²: a'
