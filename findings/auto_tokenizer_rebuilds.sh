#!/usr/bin/env bash
# AutoTokenizer of transformers 5 takes vocabulary and merges of tokenizer.json, and for some values of tokenizer_class
# (GPT2Tokenizer, Qwen2Tokenizer, GPTNeoXTokenizer, LlamaTokenizer …) neither its pre-tokenizer nor its normalizer: it builds the
# class's own. Ids are then others than tokenizer.json's, without a word.
#
# Input: a byte-level BPE whose pre-tokenizer takes every digit by itself, and GPT2Tokenizer as class; the text "a 12".
# Seen with transformers 5.24.0 and tokenizers 0.23.3: "12" in one token, where tokenizer.json has two.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cat >"$work/try.py" <<'PYTHON'
import json, os, sys
from tokenizers import Tokenizer
from transformers import AutoTokenizer

folder = sys.argv[1]
os.makedirs(folder)
steps = [{"type": "Digits", "individual_digits": True},
         {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]
vocab = {token: id for id, token in enumerate(["a", "Ġ", "1", "2", "12"])}
json.dump({"added_tokens": [], "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
           "model": {"type": "BPE", "vocab": vocab, "merges": ["1 2"]}}, open(folder + "/tokenizer.json", "w"))
json.dump({"model_type": "llama"}, open(folder + "/config.json", "w"))
print("tokenizers:", *Tokenizer.from_file(folder + "/tokenizer.json").encode("a 12").ids)
for name in ("GPT2Tokenizer", "PreTrainedTokenizerFast"):
    json.dump({"tokenizer_class": name}, open(folder + "/tokenizer_config.json", "w"))
    print(name + ":", *AutoTokenizer.from_pretrained(folder)("a 12")["input_ids"])
PYTHON
verdict "$("$(python_with transformers==5.24.0 tokenizers==0.23.3)" "$work/try.py" "$work/model" 2>/dev/null)" "tokenizers: 0 1 2 3
GPT2Tokenizer: 0 1 4
PreTrainedTokenizerFast: 0 1 2 3"
