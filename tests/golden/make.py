"""Renews the goldens that the tests read, and the example pages, from the reference implementation.

    python -m venv venv
    venv/bin/pip install torch==2.15.0 torchvision==0.29.2 transformers==5.23.0 pillow==13.0.0 \
        numpy==2.4.6 reportlab==5.1.0 pypdfium2==5.15.2
    venv/bin/python tests/golden/make.py [STEP...]      # all steps by default

It is run by hand: when the reader in `examples/reader` is replaced by a better one, when a golden is added, or
when the reference is upgraded. `versions.json` records what the goldens were made with. What is random is seeded.

Steps, and what they write, below `tests/golden` where nothing else is said:

tiny              `tiny-tied/`, `tiny-untied/`: random Qwen3-VL models with all that makes the architecture hard
                  to get right, in the two config styles that are met in the wild. `expected.safetensors` beside
                  each holds, per case `caseN.` (the prompts are a JSON list in the file's metadata, `prompts`):
                  `image` u8 (h, w, 3); `patches` (patches, 3 · side²), one of the two equal frames, of the last case
                  alone (of `tiny-untied` both frames); `grid_thw` i64 (3); `input_ids` i64 (tokens);
                  `position_ids` i64 (3, tokens); `vision` (image tokens, hidden), the main merger's output;
                  `deepstack.K`, the K-th deepstack merger's output, same shape; `hidden.0` (tokens, hidden), the
                  input of the first decoder layer: token embeddings with `vision` in the image places;
                  `hidden.L` for L >= 1, the output of the L-th decoder layer (1-based) with `deepstack.(L-1)`
                  already added to the image places where there is one, before the final norm; `logits`
                  (8, vocabulary), of the last positions; `generated` i64 (32), greedy, not stopped by eos.
tiny_qwen2        `tiny-qwen2_5_vl-*/`, `tiny-qwen2_vl-*/`: the same of Qwen2.5-VL and Qwen2-VL, without `deepstack.K`.
tiny_qwen3_5      `tiny-qwen3_5-tied/`, `tiny-qwen3_5-untied/`: the same of Qwen3.5, without `deepstack.K`. The untied one
                  has a draft head (`mtp.*`): `drafts` (8, vocabulary) are its logits of the token after the next one, for
                  the last 8 tokens but one.
smart_resize      `smart_resize.json`: rows of height, width, factor, min_pixels, max_pixels, resulting height and
                  width; null, null where the reference refuses.
resize            `resize/*.png`, RGB u8, and `resize.json`: PIL's bicubic of each source at other sizes.
positions         `positions.json`: position ids (3, tokens) and rope delta of prompts with `before` text tokens,
                  an image of `grid` patches (rows, columns; null: no image) and `after` text tokens.
vision_positions  `vision_positions.safetensors`: a random position `table` (8 x 8, dim) and, as `gHxW` (H x W, dim),
                  what the vision tower adds to the patches of a grid of H x W, in merge order.
pages             `examples/pages`: the example documents; `pages.json`: the text that is printed on each page.
                  The reader must read each of them without an error, with every one of `PAGE_PROMPTS`.
reader            `reader.json`: what the reader says, greedily, in f32 arithmetic, to the images in `strips/` and
                  `examples/pages`; `lead` is the smallest distance of a chosen token's logit to the second best.
"""

import argparse
import functools
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import documents
import numpy as np
import torch
from PIL import Image
from reference import Reference
from safetensors.torch import save_file
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from transformers.utils.logging import disable_progress_bar
from transformers.vision_utils import get_vision_interpolation_indices_and_weights

GOLDEN = Path(__file__).resolve().parent
ROOT = GOLDEN.parents[1]
READER = ROOT / "examples" / "reader"
PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "pillow", "numpy", "reportlab", "pypdfium2")


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_rows(path, rows):
    """A JSON list with one element a line."""
    path.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


def read_json(path):
    return json.loads(path.read_text())


@functools.cache
def reader():
    return Reference(READER)


# --- tiny: random models and what they compute ---------------------------------------------------------------------

TINY = {
    "tiny-tied": {
        "seed": 7,
        "tied": True,
        "text": {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "head_dim": 16, "intermediate_size": 80, "vocab_size": 391},
        "rope": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 3, 1]},
        "vision": {"depth": 4, "hidden_size": 32, "num_heads": 2, "intermediate_size": 80,
                   "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 2]},
    },
    "tiny-untied": {
        "seed": 6,
        "tied": False,
        "text": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 1,
                 "head_dim": 32, "intermediate_size": 72, "vocab_size": 400},
        "rope": {"rope_type": "default", "rope_theta": 5000000.0, "mrope_section": [7, 5, 4]},
        "vision": {"depth": 3, "hidden_size": 40, "num_heads": 5, "intermediate_size": 72,
                   "num_position_embeddings": 49, "deepstack_visual_indexes": [1, 2]},
    },
}  # fmt: skip
TINY_CASES = [  # height, width, prompt
    (96, 160, "Transcribe this page."),
    (192, 64, "What does it say?"),
]
TINY_LIMITS = (4096, 65536)
LAST = 8  # positions whose logits are kept


def tiny():
    for name, spec in TINY.items():
        folder = GOLDEN / name
        shutil.rmtree(folder, ignore_errors=True)
        write_tiny_model(folder, spec)
        write_expected(folder, spec)


def write_tiny_model(folder, spec):
    """The tied one as transformers 5 writes it, the untied one as 4.57 did, with the oddities of fine-tunes."""
    reader = read_json(READER / "config.json")
    special = {key: reader[key] for key in reader if key.endswith("_token_id")}
    ends = {key: reader["text_config"][key] for key in ("bos_token_id", "eos_token_id")}
    config = Qwen3VLConfig(
        **special,
        tie_word_embeddings=spec["tied"],
        text_config={**spec["text"], **ends, "rope_parameters": spec["rope"], "max_position_embeddings": 4096,
                     "tie_word_embeddings": spec["tied"]},
        vision_config={**spec["vision"], "out_hidden_size": spec["text"]["hidden_size"]},
    )  # fmt: skip
    model = Qwen3VLForConditionalGeneration(config)
    randomise(model, spec["seed"])
    model.save_pretrained(folder, max_shard_size="5GB" if spec["tied"] else "500KB")
    write_small_files(folder, ends, None if spec["tied"] else config_of_4_57)


def write_small_files(folder, ends, older_config):
    """What lies beside the weights; with `older_config`, which rewrites `config.json`, as older programs wrote it."""
    shutil.copyfile(READER / "tokenizer.json", folder / "tokenizer.json")
    preprocessor = read_json(READER / "preprocessor_config.json")
    smallest, largest = TINY_LIMITS
    if older_config is None:
        shutil.copyfile(READER / "tokenizer_config.json", folder / "tokenizer_config.json")
        preprocessor["size"] = {"shortest_edge": smallest, "longest_edge": largest}
        eos = ends["eos_token_id"]
    else:
        write_json(folder / "config.json", older_config(read_json(folder / "config.json")))
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
        del preprocessor["size"]
        preprocessor |= {"min_pixels": smallest, "max_pixels": largest}
        eos = [ends["eos_token_id"], ends["eos_token_id"], ends["bos_token_id"]]
    write_json(folder / "preprocessor_config.json", preprocessor)
    write_json(folder / "generation_config.json", {"do_sample": False, "eos_token_id": eos})


def usual_vector(name):
    """Mean and deviation of a vector's numbers: norms around 1, biases that are not 0."""
    return (1.0, 0.3) if "norm" in name and name.endswith("weight") else (0.0, 0.2)


@torch.no_grad()
def randomise(model, seed, vector=usual_vector, exact_in_bf16=False):
    """Matrices so large that the outputs are far from uniform, and vectors as `vector` says by their name."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        if parameter.dim() > 1:
            mean, deviation = 0.0, 1.1 / parameter[0].numel() ** 0.5
        else:
            mean, deviation = vector(name)
        parameter.normal_(mean, deviation, generator=generator)
        if exact_in_bf16:
            parameter.copy_(parameter.bfloat16())


def config_of_4_57(config):
    """The same model in the older style: rope_scaling beside rope_theta, tied or not said once, and nulls."""
    text, vision = config["text_config"], config["vision_config"]
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope["rope_theta"]
    text["rope_scaling"] = {
        "mrope_interleaved": True, "mrope_section": rope["mrope_section"], "rope_type": rope["rope_type"],
    }  # fmt: skip
    text.pop("tie_word_embeddings", None)
    vision.pop("rope_parameters")
    vision["model_type"] = "qwen3_vl"
    config["hidden_size"] = text["hidden_size"]
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.57.1"
    return config | {"bos_token_id": None, "pad_token_id": None, "sep_token_id": None, "finetuning_task": None}


def write_expected(folder, spec):
    reference = Reference(folder)
    expected = []
    for case, (height, width, prompt) in enumerate(TINY_CASES):
        image = noise_image(height, width, seed=10 * spec["seed"] + case)
        expected.append(compute_case(reference, image, prompt))
    save_expected(folder, expected, TINY_CASES, frames=1 if spec["tied"] else 2)


def save_expected(folder, expected, cases, frames=1):
    """Writes the results of `cases`, whose last field is the prompt, without what says little more: of `patches` those of
    the last case and so many of the two equal `frames`, of `logits` those of the last positions.
    """
    for case in expected:
        patches = case["patches"].view(len(case["patches"]), 3, 2, -1)
        assert torch.equal(patches[:, :, 0], patches[:, :, 1])
        case |= {"patches": patches[:, :, :frames].flatten(1), "logits": case["logits"][-LAST:]}
    for case in expected[:-1]:  # `vision` depends on all patches
        del case["patches"]
    tensors = {
        f"case{case}.{key}": tensor.contiguous() for case, of in enumerate(expected) for key, tensor in of.items()
    }
    prompts = json.dumps([prompt for *_, prompt in cases])
    save_file(tensors, folder / "expected.safetensors", {"prompts": prompts})


def noise_image(height, width, seed):
    """Smooth colour with noise over it: no two patches, rows, columns or channels alike."""
    random = np.random.default_rng(seed)
    smooth = Image.fromarray(random.integers(0, 256, (5, 4, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    noise = random.integers(-40, 41, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(smooth).astype(int) + noise, 0, 255).astype(np.uint8))


@torch.no_grad()
def compute_case(reference, image, prompt, bound=2e-5):
    """Every intermediate result of one prompt; see the head of this file for what each of them is, and `check_case` for
    `bound`."""
    model, inputs = reference.model, reference.inputs(image, prompt)
    grid = inputs["image_grid_thw"]
    features = model.model.get_image_features(inputs["pixel_values"], grid)
    positions, _ = model.model.get_rope_index(inputs["input_ids"], inputs["mm_token_type_ids"], grid)
    hidden, logits = hidden_states(model, inputs)
    model.generation_config.eos_token_id = None
    generated, lead = reference.generate(inputs, 32)
    check_case(model, inputs, logits, generated, lead, bound)
    deepstack = getattr(features, "deepstack_features", None) or []
    return {
        "image": torch.from_numpy(np.array(image)),
        "patches": inputs["pixel_values"],
        "grid_thw": grid[0],
        "input_ids": inputs["input_ids"][0],
        "position_ids": positions[:, 0],
        "vision": torch.cat(features.pooler_output),
        **{f"deepstack.{i}": torch.cat(feature) for i, feature in enumerate(deepstack)},
        **{f"hidden.{i}": state[0] for i, state in enumerate(hidden)},
        "logits": logits[0],
        "generated": generated,
    }


def hidden_states(model, inputs):
    """What enters each decoder layer and then the final norm: layer outputs with deepstack features added."""
    language, states = model.model.language_model, []
    hooks = [
        module.register_forward_pre_hook(lambda _, args: states.append(args[0].clone()))
        for module in [*language.layers, language.norm]
    ]
    logits = model(**inputs).logits
    for hook in hooks:
        hook.remove()
    assert len(states) == len(language.layers) + 1
    return states, logits


def check_case(model, inputs, logits, generated, lead, bound):
    """The golden must be one that f32 arithmetic of another order can meet, and must tell right from wrong."""
    exact = model.double()(**inputs).logits
    model.float()
    error = float((exact - logits).abs().max())
    spread = float(logits.std())
    variety = len(set(generated.tolist()))
    print(f"  f32 error {error:.1e}, logits' deviation {spread:.2f}, lead {lead:.3f}, {variety} distinct tokens")
    assert error < bound and spread > 0.5 and lead > 1e-2 and variety > 8


# --- smart_resize and resize ----------------------------------------------------------------------------------------

BUDGETS = [  # factor, min_pixels, max_pixels
    (32, 65536, 16777216),  # of published models
    (32, 65536, 2097152),  # the same, as capped by this program
    (32, 5120, 16384),  # of the reader
    (32, 1, 16777216),  # so wide that ties in rounding decide
]
SIZES = [  # height, width
    (48, 80), (80, 48), (112, 144), (240, 272), (1008, 1072), (16, 2000), (15, 17), (42, 70), (98, 126),  # ties
    (1, 1), (1, 199), (199, 1), (1, 200), (200, 1), (32, 6400), (30000, 20000), (1, 20000), (65535, 65535),
    (1, 201), (201, 1), (32, 6401), (1, 5000), (5000, 1),
    (2339, 1654), (1654, 2339), (2340, 1655), (2200, 1700), (1056, 816), (3508, 2480),  # A4 and Letter
    (256, 256), (255, 257), (240, 256), (4096, 4096), (4097, 4096), (4080, 4112), (1448, 1448), (1449, 1449),
    (32, 160), (64, 256), (63, 257), (128, 512), (178, 711), (178, 712), (177, 711), (200, 800),
]  # fmt: skip


def smart_resize_table():
    rows = []
    for size in SIZES:
        for budget in BUDGETS:
            try:
                result = smart_resize(*size, *budget)
            except ValueError:
                result = (None, None)
            rows.append([*size, *budget, *result])
    write_rows(GOLDEN / "smart_resize.json", rows)


RESIZE_TARGETS = {  # of each source: width, height
    "noise": [(32, 32), (96, 64), (40, 90), (64, 7)],
    "gradient": [(64, 64), (256, 32), (33, 100)],
    "text": [(256, 64), (160, 32), (600, 160)],
}


def resize_sources():
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[0:48, 0:120]
    gradient = np.stack([columns * 255 / 119, rows * 255 / 47, 255 - (rows + columns) * 255 / 166], axis=2)
    return {
        "noise": Image.fromarray(random.integers(0, 256, (47, 61, 3), dtype=np.uint8)),
        "gradient": Image.fromarray(gradient.round().astype(np.uint8)),
        "text": documents.draw_text("Sharp edges, thin lines:\nresize without ringing?", (512, 128), 40).convert("RGB"),
    }


def resize():
    folder = GOLDEN / "resize"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows = []
    for name, source in resize_sources().items():
        source.save(folder / f"{name}.png", optimize=True)
        for width, height in RESIZE_TARGETS[name]:
            target = f"{name}_{width}x{height}.png"
            source.resize((width, height), Image.BICUBIC).save(folder / target, optimize=True)
            rows.append({"source": f"{name}.png", "target": target, "width": width, "height": height})
    write_rows(GOLDEN / "resize.json", rows)


# --- positions: of tokens in the text model, of patches in the vision tower ------------------------------------------

POSITION_CASES = [  # text tokens before, patch grid (rows, columns), text tokens after
    (0, None, 7), (5, (4, 6), 9), (1, (10, 2), 3), (6, (2, 20), 4), (0, (12, 14), 1), (3, (2, 2), 0),
]  # fmt: skip
VISION_GRIDS = [(4, 6), (10, 2), (12, 14)]


def positions():
    model = Reference(GOLDEN / "tiny-tied").model.model
    rows = []
    for before, grid, after in POSITION_CASES:
        image_tokens = grid[0] * grid[1] // 4 if grid else 0
        types = torch.tensor([[0] * before + [1] * image_tokens + [0] * after])
        grid_thw = torch.tensor([[1, *grid]]) if grid else None
        position_ids, delta = model.get_rope_index(torch.zeros_like(types), types, grid_thw)
        rows.append({
            "before": before, "grid": grid, "after": after,
            "position_ids": position_ids[:, 0].tolist(), "rope_delta": int(delta),
        })  # fmt: skip
    write_rows(GOLDEN / "positions.json", rows)


def vision_positions():
    side = 8
    table = torch.randn(side * side, 8, generator=torch.Generator().manual_seed(4))
    tensors = {"table": table}
    for rows, columns in VISION_GRIDS:
        indices, weights = get_vision_interpolation_indices_and_weights(
            torch.tensor([[1, rows, columns]]), side, mode="bilinear", align_corners=True, spatial_merge_size=2
        )
        tensors[f"g{rows}x{columns}"] = (table[indices] * weights[:, :, None]).sum(1)
    save_file(tensors, GOLDEN / "vision_positions.safetensors")


# --- pages and reader: documents, and what the reader says to them ---------------------------------------------------

TRANSCRIBE = "Transcribe this page."
# What the program asks by default, `src/config/prompt.rs`.
MARKDOWN = (
    "Extract all text from this document image and return it in clean Markdown format. Preserve the document "
    "structure including headings, lists, tables, and paragraphs. For tables, use Markdown table syntax. "
    "For formulas, use LaTeX notation."
)
QWENVL = "qwenvl markdown"
PAGE_PROMPTS = (TRANSCRIBE, QWENVL, MARKDOWN)


def pages():
    documents.draw_all()
    rows = []
    for file, texts in documents.DOCUMENTS.items():
        for number, text in enumerate(texts, 1):
            check_reading(file, number, text)
            rows.append({"file": file, "page": number, "text": text})
    write_rows(GOLDEN / "pages.json", rows)


def check_reading(file, number, text):
    for prompt in PAGE_PROMPTS:
        image = documents.open_page(file, number, READER / "preprocessor_config.json")
        read, _, lead = reader().read(image, prompt)
        print(f"  {file} {number}: {read!r}, lead {lead:.2f}")
        assert read == text and lead > 0.5, (file, number, text)


def reader_texts():
    rows = []
    images = [*GOLDEN.glob("strips/*"), *documents.FOLDER.glob("*.png"), *documents.FOLDER.glob("*.jpg")]
    for path in sorted(images):
        for prompt in PAGE_PROMPTS:
            text, tokens, lead = reader().read(Image.open(path).convert("RGB"), prompt)
            assert lead > 1e-3, (path, prompt, lead)
            rows.append({
                "image": str(path.relative_to(ROOT)), "prompt": prompt, "text": text, "tokens": tokens,
                "lead": round(lead, 3),
            })  # fmt: skip
    write_rows(GOLDEN / "reader.json", rows)


# --- the command line ----------------------------------------------------------------------------------------------


def tiny_qwen2():
    import tiny_qwen2 as family  # which takes what is shared from here

    family.write_all()


def tiny_qwen3_5():
    import tiny_qwen3_5 as family  # which takes what is shared from here

    family.write_all()


STEPS = {
    "tiny": tiny,
    "tiny_qwen2": tiny_qwen2,
    "tiny_qwen3_5": tiny_qwen3_5,
    "smart_resize": smart_resize_table,
    "resize": resize,
    "positions": positions,
    "vision_positions": vision_positions,
    "pages": pages,
    "reader": reader_texts,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of: {' '.join(STEPS)} (all)")
    torch.set_num_threads(1)
    disable_progress_bar()
    for name in parser.parse_args().steps or STEPS:
        print(name)
        STEPS[name]()
    write_json(GOLDEN / "versions.json", {package: version(package) for package in PACKAGES})
    for path in GOLDEN.glob("**/*.safetensors"):  # written as private files
        path.chmod(0o644)


if __name__ == "__main__":
    main()
