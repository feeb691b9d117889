#!/usr/bin/env bash
# transformers 4.46.3 leaves the modeling file out when a model that was opened from a directory with its own code is saved: the
# copy has weights, an `auto_map` and the configuration's code, and does not open. 4.57.6 and 5.24.0 copy both files.
#
# Input: a directory with configuration_tiny.py, modeling_tiny.py, an `auto_map` and weights; AutoModel.from_pretrained with
# trust_remote_code, then save_pretrained. A class that calls `register_for_auto_class` by itself is copied by all three.
# Seen: the Python files of the copy, as `expected` lists them.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
mkdir "$work/tiny"
cat >"$work/tiny/configuration_tiny.py" <<'PYTHON'
from transformers import PretrainedConfig


class TinyConfig(PretrainedConfig):
    model_type = "tiny_of_its_own"
PYTHON
cat >"$work/tiny/modeling_tiny.py" <<'PYTHON'
import torch
from transformers import PreTrainedModel

from .configuration_tiny import TinyConfig


class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Linear(2, 2)
        self.post_init()

    def _init_weights(self, module):
        pass
PYTHON
cat >"$work/tiny/config.json" <<'JSON'
{"model_type": "tiny_of_its_own", "architectures": ["TinyModel"],
 "auto_map": {"AutoConfig": "configuration_tiny.TinyConfig", "AutoModel": "modeling_tiny.TinyModel"}}
JSON
cat >"$work/try.py" <<'PYTHON'
import os, sys
import torch, transformers
from safetensors.torch import save_file
from transformers import AutoModel

folder, copy = sys.argv[1:]
save_file({"layer.weight": torch.eye(2), "layer.bias": torch.zeros(2)}, folder + "/model.safetensors", {"format": "pt"})
AutoModel.from_pretrained(folder, trust_remote_code=True).save_pretrained(copy)
print(transformers.__version__, *sorted(name for name in os.listdir(copy) if name.endswith(".py")))
PYTHON
expected="4.46.3 configuration_tiny.py
4.57.6 configuration_tiny.py modeling_tiny.py
5.24.0 configuration_tiny.py modeling_tiny.py"
found=
for version in 4.46.3 4.57.6 5.24.0; do
    python=$(python_with torch==2.15.0 "transformers==$version")
    found+="${found:+$'\n'}$("$python" "$work/try.py" "$work/tiny" "$work/copy-$version" 2>/dev/null)"
done
verdict "$found" "$expected"
