#!/usr/bin/env bash
# mlx 0.32.4 writes "__metadata__": null by default, where the safetensors format has a map of texts or nothing.
#
# Input: one array of four zeros, mx.save_safetensors without metadata. safetensors 0.8.0 reads the file. Of a model so written,
# transformers 4.46.3 says AttributeError: 'NoneType' object has no attribute 'get' (not tried below); 4.57.6 and 5.24.0 open it.
# Seen: the header that `expected` holds.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
python=$(python_with 'mlx[cpu]==0.32.4' safetensors==0.8.0 numpy==2.4.6)
expected='{"__metadata__":null,"a":{"data_offsets":[0,16],"dtype":"F32","shape":[4]}}
read by safetensors: [0.0, 0.0, 0.0, 0.0]'
verdict "$("$python" - "$work/a.safetensors" <<'PYTHON'
import json, struct, sys
import mlx.core as mx
from safetensors.numpy import load_file

mx.save_safetensors(sys.argv[1], {"a": mx.zeros((4,))})
with open(sys.argv[1], "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
print(json.dumps(header, sort_keys=True, separators=(",", ":")))
print("read by safetensors:", load_file(sys.argv[1])["a"].tolist())
PYTHON
)" "$expected"
