#!/usr/bin/env bash
# Two added tokens that the normalizer makes one, such as <A> and <a> under Lowercase, are taken by tokenizers without a word, and
# which of the two ids a text gets is another from one start of Python to the next.
#
# Input: these two, marked as normalized, and a text that holds one of them, encoded by up to 40 processes.
# Seen with tokenizers 0.23.3: both ids.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cat >"$work/try.py" <<'PYTHON'
import json
from tokenizers import Tokenizer

added = [{"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
         for id, content in ((2, "<A>"), (3, "<a>"))]
tokenizer = Tokenizer.from_str(json.dumps({"added_tokens": added, "normalizer": {"type": "Lowercase"},
                                           "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}))
print(*tokenizer.encode("<A>").ids)
PYTHON
python=$(python_with tokenizers==0.23.3)
ids=""
for _ in $(seq 40); do
    ids=$(printf '%s\n%s' "$ids" "$("$python" "$work/try.py")" | sed '/^$/d' | sort -u)
    [ "$(wc -l <<<"$ids")" = 1 ] || break
done
verdict "ids of <A>: $(tr '\n' ' ' <<<"$ids")" "ids of <A>: 2 3 "
