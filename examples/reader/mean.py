"""Writes the mean of sets of weights that came from one another, which reads better than any of them.

    venv/bin/python examples/reader/mean.py MEAN.safetensors OLD.safetensors NEW.safetensors ...

A layer or block that one of them lacks has no effect there: `train.py --init` begins with it the same way.
"""

import copy
import sys

from safetensors.torch import load_file, save_file
from train import build, start_from

target, *files = sys.argv[1:]
newest = load_file(files[-1])
model = build(files[-1])
sets = []
for file in files:
    of_file = copy.deepcopy(model)
    start_from(of_file, file)
    sets.append(of_file.state_dict())
mean = {name: (sum(s[name] for s in sets) / len(sets)).to(weight.dtype) for name, weight in newest.items()}
save_file(mean, target, {"format": "pt"})
