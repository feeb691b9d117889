#!/usr/bin/env bash
# tokenizers passes over the "id" of an entry of added_tokens in a tokenizer.json: a token that the vocabulary has not gets the next
# number behind the vocabulary's size, in the order of the list. A file with a gap, or in another order, gives other ids than it says.
#
# Input: a vocabulary of two tokens, and added tokens with the ids 7 and 5, in this order.
# Seen with tokenizers 0.23.3: 2 and 3 (a warning goes to the log).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cat >"$work/try.py" <<'PYTHON'
import json
from tokenizers import Tokenizer

added = [{"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
         for id, content in ((7, "<x>"), (5, "<y>"))]
tokenizer = Tokenizer.from_str(json.dumps({"added_tokens": added, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}))
print("a<x>b<y>:", *tokenizer.encode("a<x>b<y>").ids)
PYTHON
verdict "$("$(python_with tokenizers==0.23.3)" "$work/try.py" 2>/dev/null)" "a<x>b<y>: 0 2 1 3"
