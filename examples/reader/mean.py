"""Writes the mean of sets of weights that came from one another, which reads better than any of them.

    venv/bin/python examples/reader/mean.py MEAN.safetensors OLD.safetensors NEW.safetensors ...

Weights that are named twice count twice. A layer or block that one of them lacks has no effect there: `train.py --init`
begins with it the same way.
"""

import copy
import sys

from train import build, save_weights, start_from

target, *files = sys.argv[1:]
model = build(files[-1])
sets = []
for file in files:
    of_file = copy.deepcopy(model)
    start_from(of_file, file)
    sets.append(of_file.state_dict())
model.load_state_dict({name: sum(s[name] for s in sets) / len(sets) for name in sets[0]})
save_weights(target, model)
