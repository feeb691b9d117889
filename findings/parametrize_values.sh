#!/usr/bin/env bash
# A parameter that is named like a method of a dictionary (`values`, `keys`, `items`, ...) cannot be parametrised by
# torch.nn.utils.parametrize, and so not be reached by PEFT's `target_parameters` either: both keep what belongs to it in a
# ModuleDict, which refuses such a key. (pytorch#71203 is open.)
#
# Input: a module with the parameter `values`, and the same with the parameter `table`.
# Seen: the error that `expected` holds, in the first forward pass where it is PEFT.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
python=$(python_with torch==2.15.0 peft==0.21.2)
expected="parametrize, table: works
parametrize, values: KeyError: \"attribute 'values' already exists\"
PEFT, table: works
PEFT, values: KeyError: \"attribute 'values' already exists\""
verdict "$("$python" - 2>/dev/null <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils import parametrize


class Bank(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name
        self.register_parameter(name, torch.nn.Parameter(torch.randn(6, 4)))

    def forward(self, x):
        return x @ getattr(self, self.name).T


class Model(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.bank = Bank(name)

    def forward(self, x):
        return self.bank(x)


def by_parametrize(name):
    parametrize.register_parametrization(Bank(name), name, torch.nn.Identity())


def by_peft(name):
    get_peft_model(Model(name), LoraConfig(r=2, target_modules=[], target_parameters=["bank." + name]))(torch.ones(1, 4))


for what, how in {"parametrize": by_parametrize, "PEFT": by_peft}.items():
    for name in ("table", "values"):
        try:
            how(name)
            print(f"{what}, {name}: works")
        except KeyError as error:
            print(f"{what}, {name}: KeyError: {error}")
PYTHON
)" "$expected"
