"""Renews the goldens that the tests read, and the example pages, from the reference implementation.

    python -m venv venv
    venv/bin/pip install torch==2.15.0 torchvision==0.29.2 transformers==5.23.0 pillow==13.0.0 \
        numpy==2.4.6 reportlab==5.1.0 pypdfium2==5.15.2
    venv/bin/python tests/golden/make.py [STEP...]      # all steps by default

It is run by hand: when the reader in `examples/reader` is replaced by a better one, when a golden is added, or
when the reference is upgraded. `versions.json` records what the goldens were made with. What is random is seeded.

Steps, and what they write below `tests/golden`:

tiny            `tiny-tied/`, `tiny-untied/`: random Qwen3-VL models with all that makes the architecture hard
                to get right, in the two config styles that are met in the wild. `expected.safetensors` beside
                each holds, per case `caseN.` (the prompts are a JSON list in the file's metadata, `prompts`):
                `image` u8 (h, w, 3); `patches` (patches, 1536); `grid_thw` i64 (3); `input_ids` i64 (tokens);
                `position_ids` i64 (3, tokens); `vision` (image tokens, hidden), the main merger's output;
                `deepstack.K`, the K-th deepstack merger's output, same shape; `hidden.0` (tokens, hidden), the
                input of the first decoder layer: token embeddings with `vision` in the image places;
                `hidden.L` for L >= 1, the output of the L-th decoder layer (1-based) with `deepstack.(L-1)`
                already added to the image places where there is one, before the final norm; `logits`
                (tokens, vocabulary), of every position; `generated` i64 (32), greedy, not stopped by eos.
"""

import argparse
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

GOLDEN = Path(__file__).resolve().parent
READER = GOLDEN.parents[1] / "examples" / "reader"
PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "pillow", "numpy", "reportlab", "pypdfium2")


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path):
    return json.loads(path.read_text())


class Reference:
    """A model folder as the reference implementation runs it: f32, eager attention."""

    def __init__(self, folder):
        self.model = Qwen3VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.processor = Qwen2VLImageProcessor.from_pretrained(folder)

    def inputs(self, image, prompt):
        """The model's inputs for one page image and one prompt."""
        pixels = self.processor(images=[image], return_tensors="pt")
        image_tokens = int(pixels["image_grid_thw"].prod()) // 4
        ids = self.tokenizer(self.prompt(prompt).replace("<|image_pad|>", "<|image_pad|>" * image_tokens)).input_ids
        input_ids = torch.tensor([ids])
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == self.model.config.image_token_id).int(),
            **pixels,
        }

    def prompt(self, text):
        """The fixed template; the folder's own chat template, where there is one, must say the same."""
        fixed = (
            "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
            f"{text}<|im_end|>\n<|im_start|>assistant\n"
        )
        if self.tokenizer.chat_template:
            content = [{"type": "image"}, {"type": "text", "text": text}]
            own = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
            assert own == fixed, own
        return fixed

    @torch.no_grad()
    def generate(self, inputs, tokens):
        """Greedy token ids without the prompt, and the smallest lead of a chosen token over the second best."""
        output = self.model.generate(
            **inputs, max_new_tokens=tokens, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        best = torch.stack(output.logits).squeeze(1).topk(2).values
        return output.sequences[0, inputs["input_ids"].shape[1] :], float((best[:, 0] - best[:, 1]).min())


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


def tiny():
    for name, spec in TINY.items():
        folder = GOLDEN / name
        shutil.rmtree(folder, ignore_errors=True)
        write_tiny_model(folder, spec)
        write_expected(folder, spec["seed"])
        for path in folder.iterdir():
            path.chmod(0o644)


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
    shutil.copyfile(READER / "tokenizer.json", folder / "tokenizer.json")
    preprocessor = read_json(READER / "preprocessor_config.json")
    smallest, largest = TINY_LIMITS
    if spec["tied"]:
        shutil.copyfile(READER / "tokenizer_config.json", folder / "tokenizer_config.json")
        preprocessor["size"] = {"shortest_edge": smallest, "longest_edge": largest}
        eos = ends["eos_token_id"]
    else:
        write_json(folder / "config.json", config_of_4_57(read_json(folder / "config.json")))
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
        del preprocessor["size"]
        preprocessor |= {"min_pixels": smallest, "max_pixels": largest}
        eos = [ends["eos_token_id"], ends["eos_token_id"], ends["bos_token_id"]]
    write_json(folder / "preprocessor_config.json", preprocessor)
    write_json(folder / "generation_config.json", {"do_sample": False, "eos_token_id": eos})


@torch.no_grad()
def randomise(model, seed):
    """Weights so large that the outputs are far from uniform, norms around 1, biases that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        mean, deviation = 0.0, 0.2
        if parameter.dim() > 1:
            deviation = 1.1 / parameter[0].numel() ** 0.5
        elif "norm" in name and name.endswith("weight"):
            mean, deviation = 1.0, 0.3
        parameter.normal_(mean, deviation, generator=generator)


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


def write_expected(folder, seed):
    reference = Reference(folder)
    tensors = {}
    for case, (height, width, prompt) in enumerate(TINY_CASES):
        image = noise_image(height, width, seed=10 * seed + case)
        for key, tensor in compute_case(reference, image, prompt).items():
            tensors[f"case{case}.{key}"] = tensor.contiguous()
    prompts = json.dumps([prompt for *_, prompt in TINY_CASES])
    save_file(tensors, folder / "expected.safetensors", {"prompts": prompts})


def noise_image(height, width, seed):
    """Smooth colour with noise over it: no two patches, rows, columns or channels alike."""
    random = np.random.default_rng(seed)
    smooth = Image.fromarray(random.integers(0, 256, (5, 4, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    noise = random.integers(-40, 41, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(smooth).astype(int) + noise, 0, 255).astype(np.uint8))


@torch.no_grad()
def compute_case(reference, image, prompt):
    """Every intermediate result of one prompt; see the head of this file for what each of them is."""
    model, inputs = reference.model, reference.inputs(image, prompt)
    grid = inputs["image_grid_thw"]
    features = model.model.get_image_features(inputs["pixel_values"], grid)
    positions, _ = model.model.get_rope_index(inputs["input_ids"], inputs["mm_token_type_ids"], grid)
    hidden, logits = hidden_states(model, inputs)
    model.generation_config.eos_token_id = None
    generated, lead = reference.generate(inputs, 32)
    check_case(model, inputs, logits, generated, lead)
    return {
        "image": torch.from_numpy(np.array(image)),
        "patches": inputs["pixel_values"],
        "grid_thw": grid[0],
        "input_ids": inputs["input_ids"][0],
        "position_ids": positions[:, 0],
        "vision": torch.cat(features.pooler_output),
        **{f"deepstack.{i}": torch.cat(feature) for i, feature in enumerate(features.deepstack_features)},
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


def check_case(model, inputs, logits, generated, lead):
    """The golden must be one that f32 arithmetic of another order can meet, and must tell right from wrong."""
    exact = model.double()(**inputs).logits
    model.float()
    error = float((exact - logits).abs().max())
    spread = float(logits.std())
    print(f"  f32 error {error:.1e}, logits' deviation {spread:.2f}, lead {lead:.3f}, {len(set(generated.tolist()))} distinct")
    assert error < 2e-5 and spread > 0.5 and lead > 1e-2 and len(set(generated.tolist())) > 8


# --- the command line ----------------------------------------------------------------------------------------------

STEPS = {step.__name__: step for step in (tiny,)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of: {' '.join(STEPS)} (all)")
    torch.set_num_threads(1)
    for name in parser.parse_args().steps or STEPS:
        print(name)
        STEPS[name]()
    write_json(GOLDEN / "versions.json", {package: version(package) for package in PACKAGES})


if __name__ == "__main__":
    main()
