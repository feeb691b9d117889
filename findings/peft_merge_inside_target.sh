#!/usr/bin/env bash
# PEFT 0.21.2: where LoRA targets a module's own parameter (`target_parameters`) and a linear layer inside that module
# (`target_modules`), merge_and_unload merges the parameter and leaves the layer unmerged, without a word. What is then saved has
# the names of LoRA's wrapper (`proj.base_layer.weight`), which no plain model reads: its layer stays as it was initialised.
#
# Input: a module with a parameter and a linear layer, both targets.
# Seen: the names of the merged model, as `expected` lists them; without the parameter among the targets they are the plain ones.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
python=$(python_with torch==2.15.0 peft==0.21.2)
expected="targets proj: inner.proj.weight inner.table
targets proj and inner.table: inner.proj.base_layer.weight inner.proj.lora_A.default.weight inner.proj.lora_B.default.weight inner.table"
verdict "$("$python" - 2>/dev/null <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(6, 4))
        self.proj = torch.nn.Linear(4, 4, bias=False)

    def forward(self, x):
        return self.proj(x) @ self.table.T


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        return self.inner(x)


for parameters in ([], ["inner.table"]):
    model = get_peft_model(Model(), LoraConfig(r=2, target_modules=["proj"], target_parameters=parameters or None))
    names = sorted(model.merge_and_unload().state_dict())
    print("targets", " and ".join(["proj", *parameters]) + ":", *names)
PYTHON
)" "$expected"
