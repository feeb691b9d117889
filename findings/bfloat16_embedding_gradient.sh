#!/usr/bin/env bash
# PyTorch 2.15.0, eager, on the processor: the gradient of a bfloat16 embedding row is summed in bfloat16, so from 256 on a one
# more changes nothing. A token that occurs often in a batch trains by a fraction of its gradient.
#
# Input: one row that is looked up 1,000 times, the sum of the outputs as the loss; the gradient of each element is 1,000.
# Seen: what `expected` says. A cast of the table to float32 before the look-up sums exactly.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
python=$(python_with torch==2.15.0)
expected="embedding 256
embedding_bag 256
table[ids] 256
embedding of table.float() 1000"
verdict "$("$python" - 2>/dev/null <<'PYTHON'
import torch
import torch.nn.functional as F

ids = torch.zeros(1000, dtype=torch.long)
for name, look_up in {"embedding": lambda table: F.embedding(ids, table),
                      "embedding_bag": lambda table: F.embedding_bag(ids[:, None], table, mode="sum",
                                                                     per_sample_weights=torch.ones(1000, 1, dtype=table.dtype)),
                      "table[ids]": lambda table: table[ids],
                      "embedding of table.float()": lambda table: F.embedding(ids, table.float())}.items():
    table = torch.zeros(4, 8, dtype=torch.bfloat16, requires_grad=True)
    look_up(table).sum().backward()
    print(name, round(table.grad[0, 0].item()))
PYTHON
)" "$expected"
