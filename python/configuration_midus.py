"""The configuration of a Llama with Memory blocks (MIDUS, arXiv 2512.13751). Written by midus."""

import transformers
from transformers import LlamaConfig


class MidusConfig(LlamaConfig):
    """A Llama's configuration, and `midus`: which Memory blocks there are, and where."""

    model_type = "midus"

    def __init__(self, midus=None, depth_upscaling=None, **kwargs):
        if kwargs.get("rope_parameters") and int(transformers.__version__.split(".")[0]) < 5:  # the newer spelling
            rope = dict(kwargs.pop("rope_parameters"))
            kwargs["rope_theta"] = rope.pop("rope_theta", kwargs.get("rope_theta", 10000.0))
            kwargs["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
        super().__init__(**kwargs)
        self.midus = midus or {"positions": [], "num_keys": 1, "top_k": 1, "value_rank": 1}
        self.depth_upscaling = depth_upscaling
