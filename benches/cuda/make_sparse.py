#!/usr/bin/env python3
"""As make_weights.py, but the weights are a hole in a file: make_sparse.py 2b|4b|8b|tiny FOLDER READER [LAYERS]

For the counting driver, which does not read them. LAYERS is how many layers the decoder has."""
import json
import struct
import sys
from pathlib import Path

from make_weights import SHAPES, names, write_beside_weights

shape, folder, reader = dict(SHAPES[sys.argv[1]]), Path(sys.argv[2]), Path(sys.argv[3])
if len(sys.argv) > 4:
    shape["l"] = int(sys.argv[4])
write_beside_weights(shape, folder, reader)
header, end = {}, 0
for name, dims, _ in names(shape):
    start = end
    size = 2
    for dim in dims:
        size *= dim
    end = start + size
    header[name] = {"dtype": "BF16", "shape": list(dims), "data_offsets": [start, end]}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(folder / "model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    file.truncate(8 + len(text) + end)
print(f"{folder}: {end / 1e9:.2f} GB of nothing")
