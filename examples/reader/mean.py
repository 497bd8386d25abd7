"""Writes the mean of two sets of weights, which reads better than either where one was trained on from the other.

    venv/bin/python examples/reader/mean.py OLD.safetensors NEW.safetensors OUT.safetensors

A layer or block that OLD lacks has no effect there: `train.py --init OLD` begins with it the same way.
"""

import sys

from safetensors.torch import load_file, save_file
from train import build, start_from

new = load_file(sys.argv[2])
model = build(sys.argv[2])
start_from(model, sys.argv[1])
old = model.state_dict()
mean = {name: ((old[name] + weight.float()) / 2).to(weight.dtype) for name, weight in new.items()}
save_file(mean, sys.argv[3], {"format": "pt"})
