#!/usr/bin/env python3
"""Times one page with omnidocs and with PyTorch `transformers`, on the same random weights of the 2B model's shape.

    pip install torch torchvision transformers
    cargo build --release
    python3 benches/peers.py [--rounds 3] [--tokens 128] [--folder DIR]

The page has one megapixel, the answer 128 tokens. Programs take turns, so that a machine whose speed drifts treats them
alike; what is printed are medians, and ratios to `transformers` at its faster number type. Loading is not counted. Wants
25 GB of disk and 16 GB of memory.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READER = ROOT / "examples/reader"
SIDE = 1024


def make_model(folder):
    """The published 2B shape with random weights; the tokenizer is the reader's, whose ids it can hold."""
    import torch
    from transformers import AutoConfig, Qwen3VLForConditionalGeneration

    if (folder / "model.safetensors").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = AutoConfig.from_pretrained(READER)
    text, vision = config.text_config, config.vision_config
    for name, value in dict(
        hidden_size=2048, intermediate_size=6144, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, vocab_size=151936, max_position_embeddings=32768,
    ).items():
        setattr(text, name, value)
    text.rope_parameters.update(mrope_section=[24, 20, 20], rope_theta=5e6)
    for name, value in dict(
        depth=24, hidden_size=1024, intermediate_size=4096, num_heads=16, out_hidden_size=2048,
        deepstack_visual_indexes=[5, 11, 17], num_position_embeddings=2304,
    ).items():
        setattr(vision, name, value)
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="100GB")
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        shutil.copy(READER / name, folder)
    processor = json.loads((READER / "preprocessor_config.json").read_text())
    processor["size"] = {"shortest_edge": 65536, "longest_edge": 16777216}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def make_pages(folder):
    """Two pages of bars, since the first page of a process also pays for packing the weights."""
    from PIL import Image, ImageDraw

    pages = []
    for number in range(2):
        page = Image.new("RGB", (SIDE, SIDE), "white")
        draw = ImageDraw.Draw(page)
        for line in range(40):
            draw.rectangle([60, 30 + 24 * line, 400 + (line * 97 + number) % 500, 44 + 24 * line], fill="black")
        pages.append(folder / f"page{number}.png")
        page.save(pages[-1])
    return pages


def omnidocs(model, pages, dtype, tokens):
    """Seconds of (prefill, decode) of the second page."""
    command = [
        ROOT / "target/release/omnidocs", "extract", *pages, "--model", model, "--dtype", dtype, "--quiet",
        "--max-new-tokens", str(tokens), "--retries", "0", "--draft", "off", "--page-timeout", "3600",
    ]
    records = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    record = json.loads(records[-1])
    assert record["completion_tokens"] == tokens, "the random model ended its answer early"
    return record["timings_ms"]["prefill"] / 1000, record["timings_ms"]["decode"] / 1000


def transformers_here(model, dtype, tokens):
    """The same in this process; prints the two figures."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    model = Qwen3VLForConditionalGeneration.from_pretrained(model, dtype=dtype).eval()
    side = SIDE // 16
    image_tokens = side * side // 4
    config = model.config
    ids = torch.tensor(
        [[5] * 6 + [config.vision_start_token_id] + [config.image_token_id] * image_tokens
         + [config.vision_end_token_id] + [7] * 120]
    )
    inputs = dict(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == config.image_token_id).long(),
        pixel_values=torch.rand(side * side, 3 * 2 * 16 * 16).to(dtype) * 2 - 1,
        image_grid_thw=torch.tensor([[1, side, side]]),
        do_sample=False,
    )

    def seconds(count):
        begin = time.perf_counter()
        model.generate(**inputs, max_new_tokens=count, min_new_tokens=count)
        return time.perf_counter() - begin

    with torch.inference_mode():
        prefill = seconds(1)
        print(json.dumps([prefill, seconds(tokens) - prefill]))


def transformers(model, dtype, tokens):
    command = [sys.executable, __file__, "--here", dtype, "--folder", model.parent, "--tokens", str(tokens)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--folder", type=Path, help="keep the random model here")
    parser.add_argument("--programs", nargs="+", default=["omnidocs q8_0", "transformers bf16", "transformers f32"])
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    model = folder / "model"
    if options.here:
        return transformers_here(model, options.here, options.tokens)

    make_model(model)
    pages = make_pages(folder)
    figures = {program: [] for program in options.programs}
    for _ in range(options.rounds):
        for program in options.programs:
            name, dtype = program.split()
            if name == "omnidocs":
                figures[program].append(omnidocs(model, pages, dtype, options.tokens))
            else:
                figures[program].append(transformers(model, dtype, options.tokens))
            print(program, [round(figure, 2) for figure in figures[program][-1]], file=sys.stderr)
    medians = {
        program: [statistics.median(part) for part in zip(*runs)] for program, runs in figures.items()
    }
    totals = {program: sum(parts) for program, parts in medians.items()}
    best = min((total for program, total in totals.items() if program.startswith("transformers")), default=None)
    print(f"| 1 megapixel, {options.tokens} tokens | vision + prefill | decode | page | ratio |")
    print("|---|---|---|---|---|")
    for program, (prefill, decode) in medians.items():
        ratio = f"{totals[program] / best:.2f}" if best else ""
        rate = (options.tokens - 1) / decode
        print(f"| {program} | {prefill:.1f} s | {decode:.1f} s ({rate:.1f} tokens/s) | {totals[program]:.1f} s | {ratio} |")


if __name__ == "__main__":
    main()
