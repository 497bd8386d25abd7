#!/usr/bin/env python3
"""transformers on the same GPU and the same weights as the check program.

    peer.py logits MODEL IMAGE LOGITS.safetensors      compares with what `check logits` wrote
    peer.py speed MODEL WIDTH HEIGHT TOKENS BATCH[,BATCH…]"""
import sys
import time

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def load(folder, dtype=torch.bfloat16):
    from transformers import Qwen3VLForConditionalGeneration

    begin = time.time()
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").to(DEVICE).eval()
    print(f"peer load {time.time() - begin:.1f} s")
    return model


def patches(image):
    """Rows (h/2, w/2, 2, 2) of columns (C, T, 16, 16), both frames equal."""
    pixels = (image.float() / 255 - 0.5) / 0.5
    h, w, _ = pixels.shape
    x = pixels.permute(2, 0, 1).reshape(3, h // 32, 2, 16, w // 32, 2, 16).permute(1, 4, 2, 5, 0, 3, 6)
    x = x.reshape(-1, 3, 1, 16, 16).expand(-1, 3, 2, 16, 16)
    return x.reshape(x.shape[0], -1), torch.tensor([[1, h // 16, w // 16]])


def inputs(model, ids, rows, grid, batch=1):
    return dict(
        input_ids=ids.repeat(batch, 1).to(DEVICE),
        attention_mask=torch.ones_like(ids).repeat(batch, 1).to(DEVICE),
        mm_token_type_ids=(ids == model.config.image_token_id).long().repeat(batch, 1).to(DEVICE),
        pixel_values=rows.repeat(batch, 1).to(DEVICE, model.dtype),
        image_grid_thw=grid.repeat(batch, 1).to(DEVICE),
    )


def logits(folder, image, file):
    import numpy
    from PIL import Image
    from safetensors.torch import load_file

    found = load_file(file)
    image = torch.from_numpy(numpy.array(Image.open(image).convert("RGB")))
    for dtype in [torch.bfloat16, torch.float32]:
        model = load(folder, dtype)
        with torch.inference_mode():
            wanted = model(**inputs(model, found["tokens"][None], *patches(image)), logits_to_keep=1).logits[0, -1].float().cpu()
        a, b = found["logits"][0], wanted
        cos = torch.nn.functional.cosine_similarity(a, b, dim=0).item()
        top = a.topk(5).indices.tolist(), b.topk(5).indices.tolist()
        print(f"peer logits against {dtype}: cosine {cos:.6f}, relative {((a - b).norm() / b.norm()).item():.3e}, top5 {top}")
        del model
        torch.cuda.empty_cache() if DEVICE == "cuda" else None


def speed(folder, width, height, tokens, batches):
    model = load(folder)
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (height, width, 3), generator=generator)
    rows, grid = patches(image)
    config = model.config
    ids = torch.tensor([[5] * 6 + [config.vision_start_token_id] + [config.image_token_id] * (rows.shape[0] // 4) + [config.vision_end_token_id] + [7] * 40])

    def seconds(batch, count):
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        model.generate(**inputs(model, ids, rows, grid, batch), do_sample=False, max_new_tokens=count, min_new_tokens=count)
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    with torch.inference_mode():
        seconds(1, 2)
        for batch in batches:
            prefill = min(seconds(batch, 1) for _ in range(2))
            decode = seconds(batch, tokens) - prefill
            each = decode / (tokens - 1)
            used = torch.cuda.max_memory_allocated() / 1e9 if DEVICE == "cuda" else 0
            print(f"peer speed batch {batch}: prefill {prefill / batch * 1000:.0f} ms a page, {each * 1000:.2f} ms a step, {batch / each:.1f} tokens/s, {used:.1f} GB")


if sys.argv[1] == "logits":
    logits(*sys.argv[2:5])
else:
    speed(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), [int(b) for b in sys.argv[6].split(",")])
