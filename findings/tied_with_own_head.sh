#!/usr/bin/env bash
# A checkpoint whose config.json says "tie_word_embeddings": true and whose file has another lm_head.weight is one model to
# transformers 4.57.6, which ties the head, and another one to transformers 5.24.0, which keeps the file's.
#
# Input: an untied Llama of random weights, saved, and `tie_word_embeddings` set to true in its config.json.
# Seen: which of the two tables the head is after from_pretrained, as `expected` says. Version 5 logs a warning.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cat >"$work/try.py" <<'PYTHON'
import json, sys
import torch, transformers
from transformers import LlamaConfig, LlamaForCausalLM

folder = sys.argv[1]
torch.manual_seed(0)
made = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                    num_attention_heads=2, tie_word_embeddings=False))
made.save_pretrained(folder)
path = folder + "/config.json"
config = json.load(open(path))
config["tie_word_embeddings"] = True
json.dump(config, open(path, "w"))
model = LlamaForCausalLM.from_pretrained(folder)
tables = {"the file's head": made.lm_head.weight, "the embedding": made.model.embed_tokens.weight}
print(transformers.__version__, "takes", *(name for name, table in tables.items() if torch.equal(model.lm_head.weight, table)))
PYTHON
four=$(python_with torch==2.15.0 transformers==4.57.6)
five=$(python_with torch==2.15.0 transformers==5.24.0)
expected="4.57.6 takes the embedding
5.24.0 takes the file's head"
verdict "$("$four" "$work/try.py" "$work/a" 2>/dev/null && "$five" "$work/try.py" "$work/b" 2>/dev/null)" "$expected"
