"""Random Qwen2.5-VL and Qwen2-VL models and what they compute: a step of `make.py`, which see.

Not run by itself.
"""

import shutil

from make import (
    GOLDEN,
    READER,
    compute_case,
    noise_image,
    randomise,
    read_json,
    save_expected,
    usual_vector,
    write_json,
)
from reference import Reference
from safetensors.torch import load_file, save_file
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

FAMILIES = {
    "qwen2_5_vl": (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration),
    "qwen2_vl": (Qwen2VLConfig, Qwen2VLForConditionalGeneration),
}
# Sizes of pages are in image tokens, rows and columns.
MODELS = {
    "tiny-qwen2_5_vl-tied": {
        "seed": 2,
        "family": "qwen2_5_vl",
        "tied": True,
        "flat": False,
        "text": {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
                 "intermediate_size": 44, "vocab_size": 391, "rms_norm_eps": 1e-6},
        "rope": {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [2, 3, 3]},
        "vision": {"depth": 3, "hidden_size": 24, "num_heads": 3, "intermediate_size": 30, "patch_size": 8,
                   "window_size": 32, "fullatt_block_indexes": [1], "out_hidden_size": 48},
        # Windows of 2 tokens: smaller ones at two edges, and none.
        "cases": [(3, 5, "Transcribe this page."), (2, 4, "What does it say?")],
    },
    "tiny-qwen2_5_vl-untied": {
        "seed": 5,
        "family": "qwen2_5_vl",
        "tied": False,
        "flat": True,
        "text": {"hidden_size": 40, "num_hidden_layers": 2, "num_attention_heads": 5, "num_key_value_heads": 5,
                 "intermediate_size": 36, "vocab_size": 400, "rms_norm_eps": 1e-5},
        "rope": {"type": "mrope", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        "vision": {"depth": 3, "hidden_size": 20, "num_heads": 5, "intermediate_size": 22, "patch_size": 6,
                   "window_size": 48, "fullatt_block_indexes": [2], "out_hidden_size": 40},
        # Windows of 4 tokens: smaller ones at the bottom and at the right, two whole ones, and less than one.
        "cases": [(5, 6, "Read."), (4, 8, "What does it say?"), (3, 2, "Transcribe this page.")],
    },
    "tiny-qwen2_vl-tied": {
        "seed": 7,
        "family": "qwen2_vl",
        "tied": True,
        "flat": True,
        "text": {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
                 "intermediate_size": 36, "vocab_size": 391, "rms_norm_eps": 1e-6},
        "rope": {"type": "mrope", "rope_theta": 1000000.0, "mrope_section": [1, 2, 1]},
        "vision": {"depth": 2, "embed_dim": 16, "num_heads": 4, "mlp_ratio": 3, "patch_size": 14,
                   "hidden_size": 48},
        "cases": [(2, 3, "Transcribe this page."), (3, 1, "What does it say?")],
    },
    "tiny-qwen2_vl-untied": {
        "seed": 23,
        "family": "qwen2_vl",
        "tied": False,
        "flat": False,
        "text": {"hidden_size": 40, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1,
                 "intermediate_size": 28, "vocab_size": 400, "rms_norm_eps": 1e-6},
        "rope": {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [2, 5, 3]},
        "vision": {"depth": 2, "embed_dim": 24, "num_heads": 3, "mlp_ratio": 4, "patch_size": 10,
                   "hidden_size": 40},
        "cases": [(3, 4, "Read."), (2, 2, "Transcribe this page.")],
    },
}  # fmt: skip


def write_all():
    for name, spec in MODELS.items():
        folder = GOLDEN / name
        shutil.rmtree(folder, ignore_errors=True)
        write_model(folder, spec)
        write_expected(folder, spec)


def write_model(folder, spec):
    """With weights in bf16. Those with a flat `config.json` are as transformers 4 wrote them until 4.51, the others as 5
    does.
    """
    reader = read_json(READER / "config.json")
    special = {key: reader[key] for key in reader if key.endswith("_token_id")}
    ends = {key: reader["text_config"][key] for key in ("bos_token_id", "eos_token_id")}
    config_class, model_class = FAMILIES[spec["family"]]
    config = config_class(
        **special,
        tie_word_embeddings=spec["tied"],
        text_config={**spec["text"], **ends, "rope_parameters": dict(spec["rope"]), "max_position_embeddings": 4096,
                     "tie_word_embeddings": spec["tied"]},
        vision_config=spec["vision"],
    )  # fmt: skip
    model = model_class(config)
    randomise(model, spec["seed"], vector, exact_in_bf16=True)
    model.bfloat16().save_pretrained(folder)
    rename_weights(folder / "model.safetensors", spec["flat"])
    shutil.copyfile(READER / "tokenizer.json", folder / "tokenizer.json")
    processor = {
        "image_processor_type": "Qwen2VLImageProcessor", "patch_size": spec["vision"]["patch_size"],
        "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    if spec["flat"]:
        write_json(folder / "config.json", flat_config(read_json(folder / "config.json"), spec))
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
        processor |= {"min_pixels": 64, "max_pixels": 65536}
        eos = [ends["eos_token_id"], ends["bos_token_id"]]
    else:
        shutil.copyfile(READER / "tokenizer_config.json", folder / "tokenizer_config.json")
        processor["size"] = {"shortest_edge": 64, "longest_edge": 65536}
        eos = ends["eos_token_id"]
    write_json(folder / "preprocessor_config.json", processor)
    write_json(folder / "generation_config.json", {"do_sample": False, "eos_token_id": eos})


def vector(name):
    """As `make.usual_vector`, which does not know the merger's norm."""
    return usual_vector(name.replace("ln_q", "norm"))


def rename_weights(path, older):
    """Names either as in most published models, or as transformers has had them since 4.52."""
    tensors = {}
    for name, tensor in load_file(path).items():
        inner = name.removeprefix("model.").removeprefix("language_model.")
        if name == "lm_head.weight":
            inner = name
        elif not inner.startswith("visual."):
            inner = ("model." if older else "model.language_model.") + inner
        elif not older:
            inner = "model." + inner
        tensors[inner] = tensor
    save_file(tensors, path, {"format": "pt"})


def flat_config(config, spec):
    """The same model with the decoder's fields at the root, and fields of the vision tower that nobody reads any more."""
    text, vision = config.pop("text_config"), config["vision_config"]
    rope = text.pop("rope_parameters")
    for key in ("model_type", "tie_word_embeddings", "layer_types", "dtype"):
        text.pop(key, None)
    vision.pop("rope_parameters")
    vision |= {"in_chans": vision.pop("in_channels"), "spatial_patch_size": vision["patch_size"]}
    vision["model_type"] = spec["family"]
    text["rope_theta"] = rope["rope_theta"]
    text["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.41.2"
    return text | config | {"pad_token_id": None}


def write_expected(folder, spec):
    reference = Reference(folder)
    side = 2 * spec["vision"]["patch_size"]
    expected = []
    for case, (rows, columns, prompt) in enumerate(spec["cases"]):
        image = noise_image(rows * side, columns * side, seed=10 * spec["seed"] + case)
        expected.append(compute_case(reference, image, prompt))
    save_expected(folder, expected, spec["cases"])
