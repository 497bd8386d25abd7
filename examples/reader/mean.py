"""Writes the mean of two sets of weights, which reads better than either where one was trained on from the other.

    venv/bin/python examples/reader/mean.py OLD.safetensors NEW.safetensors OUT.safetensors

A layer or block that OLD lacks has no effect there: `train.py --init OLD` begins with it the same way.
"""

import sys

import torch
from safetensors.torch import load_file, save_file

old, new = map(load_file, sys.argv[1:3])
mean = {}
for name, weight in new.items():
    silent = name.endswith(("o_proj.weight", "down_proj.weight", "attn.proj.weight", "linear_fc2.weight"))
    before = old.get(name, torch.zeros_like(weight) if silent else weight)
    mean[name] = ((before.float() + weight.float()) / 2).to(weight.dtype)
save_file(mean, sys.argv[3], {"format": "pt"})
