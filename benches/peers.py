#!/usr/bin/env python3
"""Times one page with omnidocs and with PyTorch `transformers`, on the same random weights of a published model's shape:
Qwen3-VL-2B's, or with --family qwen2_5_vl Qwen2.5-VL-3B's, or qwen3_5 Qwen3.5-0.8B's.

    pip install torch torchvision transformers
    cargo build --release
    python3 benches/peers.py [--rounds 3] [--tokens 128] [--folder DIR] [--family FAMILY]

The page has one megapixel, the answer 128 tokens. Programs take turns, so that a machine whose speed drifts treats them
alike; what is printed are medians, and ratios to `transformers` at its faster number type. Loading is not counted. Then
come the memory that omnidocs takes, how much of the machine's memory bandwidth its decoding uses, and what decoding four
pages at a time gives. Wants 25 GB of disk and 16 GB of memory.

With --llama llama.cpp takes its turns too, on the same weights as GGUF. In its source, where its converter does not know
the small tokenizer unless `get_vocab_base_pre` in conversion/base.py begins with `return "qwen2"`:

    cmake -B build -DCMAKE_BUILD_TYPE=Release -DLLAMA_OPENSSL=OFF
    cmake --build build --target llama-mtmd-cli
    python3 convert_hf_to_gguf.py DIR/model --outtype q8_0 --outfile model.gguf
    python3 convert_hf_to_gguf.py DIR/model --outtype q8_0 --mmproj --outfile mmproj.gguf
    python3 benches/peers.py --folder DIR --llama build/bin/llama-mtmd-cli model.gguf mmproj.gguf
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READER = ROOT / "examples/reader"
SIDES = {"qwen3_vl": 1024, "qwen2_5_vl": 1036, "qwen3_5": 1024}  # of the page, in pixels, and what their patches make of it
PATCHES = {"qwen3_vl": 16, "qwen2_5_vl": 14, "qwen3_5": 16}
# 120 tokens or so, as transformers gets.
PROMPT = (
    "Extract all text from this document image and return it in clean Markdown format. Preserve the document structure "
    "including headings, lists, tables, and paragraphs. For tables, use Markdown table syntax. For formulas, use LaTeX "
    "notation."
)


def qwen3_vl_2b():
    from transformers import AutoConfig, Qwen3VLForConditionalGeneration

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
    return Qwen3VLForConditionalGeneration(config)


def qwen2_5_vl_3b():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    reader = json.loads((READER / "config.json").read_text())
    special = {key: reader[key] for key in reader if key.endswith("_token_id")}
    config = Qwen2_5_VLConfig(
        **special,
        tie_word_embeddings=True,
        text_config=dict(
            hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, num_attention_heads=16,
            num_key_value_heads=2, vocab_size=151936, max_position_embeddings=128000, rms_norm_eps=1e-6,
            rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24]),
            tie_word_embeddings=True, eos_token_id=reader["text_config"]["eos_token_id"],
        ),
        vision_config=dict(
            depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=2048, patch_size=14,
            window_size=112, fullatt_block_indexes=[7, 15, 23, 31],
        ),
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen3_5_08b():
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    reader = json.loads((READER / "config.json").read_text())
    special = {key: reader[key] for key in reader if key.endswith("_token_id")}
    config = Qwen3_5Config(
        **special,
        tie_word_embeddings=True,
        text_config=dict(
            hidden_size=1024, intermediate_size=3584, num_hidden_layers=24, num_attention_heads=8,
            num_key_value_heads=2, head_dim=256, vocab_size=248320, max_position_embeddings=262144,
            linear_num_key_heads=16, linear_num_value_heads=16, linear_key_head_dim=128, linear_value_head_dim=128,
            rope_parameters=dict(
                rope_type="default", rope_theta=1e7, mrope_section=[11, 11, 10], partial_rotary_factor=0.25
            ),
            tie_word_embeddings=True, eos_token_id=reader["text_config"]["eos_token_id"],
        ),
        vision_config=dict(
            depth=12, hidden_size=768, intermediate_size=3072, num_heads=12, out_hidden_size=1024,
            num_position_embeddings=2304,
        ),
    )  # fmt: skip
    return Qwen3_5ForConditionalGeneration(config)


FAMILIES = {"qwen3_vl": qwen3_vl_2b, "qwen2_5_vl": qwen2_5_vl_3b, "qwen3_5": qwen3_5_08b}


def make_model(folder, family):
    """The published shape with random weights; the tokenizer is the reader's, whose ids it can hold."""
    import torch

    if (folder / "model.safetensors").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = FAMILIES[family]().to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="100GB")
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        shutil.copy(READER / name, folder)
    processor = json.loads((READER / "preprocessor_config.json").read_text())
    processor["size"] = {"shortest_edge": 65536, "longest_edge": 16777216}
    processor["patch_size"] = PATCHES[family]
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def make_pages(folder, count, side):
    """Pages of bars."""
    from PIL import Image, ImageDraw

    pages = []
    for number in range(count):
        page = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(page)
        for line in range(40):
            draw.rectangle([60, 30 + 24 * line, 400 + (line * 97 + number) % 500, 44 + 24 * line], fill="black")
        pages.append(folder / f"page{number}.png")
        page.save(pages[-1])
    return pages


def extract(model, pages, dtype, tokens, *options):
    """The timings of each page, in seconds, and the most memory that the program took, in bytes."""
    command = [
        ROOT / "target/release/omnidocs", "extract", *pages, "--model", model, "--dtype", dtype, "--quiet",
        "--max-new-tokens", str(tokens), "--retries", "0", "--draft", "off", "--page-timeout", "3600",
        "--prompt", PROMPT, *options,
    ]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        records = []
        reader = threading.Thread(target=lambda: records.extend(json.loads(line) for line in program.stdout))
        reader.start()
        while program.poll() is None:
            # What the system tells of an ended program would count this one's memory, as it was when that one started.
            peak = max(peak, peak_memory(program.pid))
            time.sleep(0.05)
        reader.join()
    assert program.returncode == 0, "omnidocs failed"
    assert all(record["completion_tokens"] == tokens for record in records), "the random model ended its answer early"
    timings = [{name: ms / 1000 for name, ms in record["timings_ms"].items()} for record in records]
    return timings, peak


def peak_memory(process):
    """Bytes that a running process has had in memory at most; none once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def omnidocs(model, pages, dtype, tokens):
    """Seconds of (prefill, decode) of the second page: the first one also finds the weights cold."""
    page = extract(model, pages[:2], dtype, tokens)[0][-1]
    return page["prefill"], page["decode"]


def bandwidth():
    """Bytes a second that all cores together read from memory."""
    import torch

    numbers = torch.ones(1 << 28)
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - begin)
    return numbers.nbytes / min(times)


def decoding(model, pages, tokens):
    """Prints what decoding at q8_0 makes of the machine, one page and four pages at a time."""
    config = json.loads((model / "config.json").read_text())["text_config"]
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config.get("head_dim") or hidden // config["num_attention_heads"]
    attention = hidden * heads * 2 * (config["num_attention_heads"] + config["num_key_value_heads"])
    layers = config["num_hidden_layers"] * 3 * hidden * inner
    kinds = config.get("layer_types") or ["full_attention"] * config["num_hidden_layers"]
    if linear := kinds.count("linear_attention"):
        attention += hidden * heads * config["num_attention_heads"]  # the gate
        keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
        values = config["linear_num_value_heads"] * config["linear_value_head_dim"]
        layers += linear * hidden * (2 * keys + 3 * values + 2 * config["linear_num_value_heads"])
    layers += kinds.count("full_attention") * attention
    # Blocks of 32 bytes have a scale of two.
    weights = (layers + hidden * config["vocab_size"]) * 34 / 32
    before = bandwidth()
    (alone,), memory = extract(model, pages[:1], "q8_0", tokens)
    together, _ = extract(model, pages[:4], "q8_0", tokens, "--batch-size", "4")
    available = (before + bandwidth()) / 2
    rate = (tokens - 1) / alone["decode"]
    # The page that comes last is decoded beside the three others all the time.
    rate_of_four = 4 * (tokens - 1) / min(page["decode"] for page in together)
    print(f"q8_0 takes {memory / 1e9:.2f} GB of memory at most.")
    print(f"Decoding reads {weights * rate / 1e9:.1f} GB/s of weights; the machine reads {available / 1e9:.1f} GB/s "
          f"({weights * rate / available:.0%}).")
    print(f"One page at a time: {rate:.1f} tokens/s; four: {rate_of_four:.1f} tokens/s ({rate_of_four / rate:.2f} times).")


def llama(program, gguf, mmproj, page, tokens):
    """Seconds of (image and prompt, decode) as llama.cpp's llama-mtmd-cli tells them."""
    command = [
        program, "-m", gguf, "--mmproj", mmproj, "--image", page, "-p", PROMPT, "--ctx-size", "4096", "--temp", "0",
        # It tells its times at this level only.
        "--ignore-eos", "-n", str(tokens), "-lv", "5",
    ]
    told = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr

    def figure(pattern):
        return float(re.search(pattern, told)[1])

    image_tokens = figure(r"n_tokens_batch = (\d+)")
    assert image_tokens == (SIDES["qwen3_vl"] // 32) ** 2, f"llama.cpp made {image_tokens:.0f} tokens of the page"
    assert figure(r": +eval time = .* / +(\d+) runs") == tokens - 1, "llama.cpp ended its answer early"
    # The time of the prompt includes the vision tower's, as it comes between two of the prompt's parts.
    return figure(r"prompt eval time = +([0-9.]+) ms") / 1000, figure(r": +eval time = +([0-9.]+) ms") / 1000


def transformers_here(model, dtype, tokens, family):
    """The same in this process; prints the two figures, and the most memory that it took, in bytes."""
    import resource

    import torch
    from transformers import AutoModelForImageTextToText

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    model = AutoModelForImageTextToText.from_pretrained(model, dtype=dtype).eval()
    patch = PATCHES[family]
    side = SIDES[family] // patch
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
        pixel_values=torch.rand(side * side, 3 * 2 * patch * patch).to(dtype) * 2 - 1,
        image_grid_thw=torch.tensor([[1, side, side]]),
        do_sample=False,
    )

    def seconds(count):
        begin = time.perf_counter()
        model.generate(**inputs, max_new_tokens=count, min_new_tokens=count)
        return time.perf_counter() - begin

    with torch.inference_mode():
        prefill = seconds(1)
        figures = [prefill, seconds(tokens) - prefill]
    print(json.dumps([*figures, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))


def transformers(model, dtype, tokens, family):
    command = [
        sys.executable, __file__, "--here", dtype, "--folder", model.parent, "--tokens", str(tokens), "--family", family,
    ]  # fmt: skip
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    prefill, decode, memory = json.loads(ran.stdout.splitlines()[-1])
    print(f"transformers {dtype} takes {memory / 1e9:.2f} GB of memory at most", file=sys.stderr)
    return prefill, decode


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--folder", type=Path, help="keep the random model here")
    parser.add_argument("--programs", nargs="+", default=["omnidocs q8_0", "transformers bf16", "transformers f32"])
    parser.add_argument("--llama", nargs=3, metavar=("PROGRAM", "MODEL", "MMPROJ"), help="llama-mtmd-cli and its GGUF files")
    parser.add_argument("--family", choices=SIDES, default="qwen3_vl")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    model = folder / "model"
    if options.here:
        return transformers_here(model, options.here, options.tokens, options.family)

    make_model(model, options.family)
    pages = make_pages(folder, 4, SIDES[options.family])
    if options.llama:
        options.programs.append("llama.cpp Q8_0")
    figures = {program: [] for program in options.programs}
    for _ in range(options.rounds):
        for program in options.programs:
            name, dtype = program.split()
            if name == "omnidocs":
                figures[program].append(omnidocs(model, pages, dtype, options.tokens))
            elif name == "llama.cpp":
                figures[program].append(llama(*options.llama, pages[1], options.tokens))
            else:
                figures[program].append(transformers(model, dtype, options.tokens, options.family))
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
    print()
    decoding(model, pages, options.tokens)


if __name__ == "__main__":
    main()
