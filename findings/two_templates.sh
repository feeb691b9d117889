#!/usr/bin/env bash
# A Sequence of two TemplateProcessing steps in a tokenizer.json puts the first one's special tokens around a text only: to the second
# they and the text are a pair.
#
# Input: "<x> $A" and "$A <y>", ids 5 and 6, the text "ab". Seen with tokenizers 0.23.3: 5 0 1, and no 6.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cat >"$work/try.py" <<'PYTHON'
from tokenizers import Tokenizer, models, processors

tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
tokenizer.post_processor = processors.Sequence([
    processors.TemplateProcessing(single="<x> $A", special_tokens=[("<x>", 5)]),
    processors.TemplateProcessing(single="$A <y>", special_tokens=[("<y>", 6)])])
print(*tokenizer.encode("ab").ids)
PYTHON
verdict "$("$(python_with tokenizers==0.23.3)" "$work/try.py")" "5 0 1"
