"""Random Qwen3.5 models and what they compute: a step of `make.py`, which see.

Not run by itself.
"""

import shutil

import torch
from make import (
    GOLDEN,
    READER,
    compute_case,
    noise_image,
    randomise,
    read_json,
    save_expected,
    usual_vector,
    write_small_files,
)
from reference import Reference
from safetensors.torch import load_file
from torch import nn
from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration, Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5DecoderLayer, Qwen3_5RMSNorm

MODELS = {
    "tiny-qwen3_5-tied": {
        "seed": 7,
        "tied": True,
        "text": {"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 3, "num_key_value_heads": 1,
                 "head_dim": 32, "intermediate_size": 72, "vocab_size": 391, "linear_num_key_heads": 2,
                 "linear_num_value_heads": 6, "linear_key_head_dim": 12, "linear_value_head_dim": 20,
                 "layer_types": ["full_attention", "linear_attention", "linear_attention", "full_attention"]},
        "rope": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1],
                 "partial_rotary_factor": 0.25},
        "vision": {"depth": 2, "hidden_size": 24, "num_heads": 3, "intermediate_size": 40,
                   "num_position_embeddings": 64},
        # Longer than a chunk of linear attention, and shorter.
        "cases": [(64, 96, "Transcribe this page, word for word, from its first line to its last one."),
                  (96, 64, "What does it say?")],
    },
    "tiny-qwen3_5-untied": {
        "seed": 15,
        "tied": False,
        "text": {"hidden_size": 32, "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "head_dim": 24, "intermediate_size": 64, "vocab_size": 400, "linear_num_key_heads": 3,
                 "linear_num_value_heads": 3, "linear_key_head_dim": 16, "linear_value_head_dim": 8,
                 "linear_conv_kernel_dim": 3,
                 "layer_types": ["linear_attention", "full_attention", "linear_attention", "full_attention",
                                 "linear_attention"]},
        "rope": {"rope_type": "default", "rope_theta": 5000000.0, "mrope_section": [2, 3, 1],
                 "partial_rotary_factor": 0.5},
        "vision": {"depth": 3, "hidden_size": 20, "num_heads": 5, "intermediate_size": 36,
                   "num_position_embeddings": 49},
        "cases": [(32, 160, "Transcribe this page."), (96, 64, "What does it say?")],
    },
}  # fmt: skip


def write_all():
    for name, spec in MODELS.items():
        folder = GOLDEN / name
        shutil.rmtree(folder, ignore_errors=True)
        write_model(folder, spec)
        write_expected(folder, spec)


def write_model(folder, spec):
    """The tied one as transformers 5 writes it, the untied one with all that is met in older files; weights in bf16."""
    reader = read_json(READER / "config.json")
    special = {key: reader[key] for key in reader if key.endswith("_token_id")}
    ends = {key: reader["text_config"][key] for key in ("bos_token_id", "eos_token_id")}
    config = Qwen3_5Config(
        **special,
        tie_word_embeddings=spec["tied"],
        text_config={**spec["text"], **ends, "rope_parameters": spec["rope"], "max_position_embeddings": 4096,
                     "tie_word_embeddings": spec["tied"]},
        vision_config={**spec["vision"], "out_hidden_size": spec["text"]["hidden_size"]},
    )  # fmt: skip
    model = Qwen3_5ForConditionalGeneration(config)
    randomise(model, spec["seed"], vector, exact_in_bf16=True)
    state = model.bfloat16().state_dict()
    if not spec["tied"]:
        head = DraftHead(config.text_config)
        randomise(head, spec["seed"], vector, exact_in_bf16=True)
        state |= {f"mtp.{name}": tensor for name, tensor in head.bfloat16().state_dict().items()}
    model.save_pretrained(folder, state_dict=state, max_shard_size="5GB" if spec["tied"] else "150KB")
    write_small_files(folder, ends, None if spec["tied"] else older_config)


class DraftHead(nn.Module):
    """The weights `mtp.*` of published checkpoints, which `Qwen3_5ForConditionalGeneration` leaves aside: the reference's
    general head for multi-token prediction, `MtpLayer` in `modeling_layers.py`, under these names."""

    def __init__(self, config):
        super().__init__()
        config = Qwen3_5TextConfig(**{**config.to_dict(), "num_hidden_layers": 1, "layer_types": ["full_attention"]})
        config._attn_implementation = "eager"
        width, eps = config.hidden_size, config.rms_norm_eps
        self.pre_fc_norm_embedding = Qwen3_5RMSNorm(width, eps)
        self.pre_fc_norm_hidden = Qwen3_5RMSNorm(width, eps)
        self.fc = nn.Linear(2 * width, width, bias=False)
        self.layers = nn.ModuleList([Qwen3_5DecoderLayer(config, 0)])
        self.norm = Qwen3_5RMSNorm(width, eps)

    def forward(self, embeddings, hidden, rope):
        """From the embedding of each token but the first, and the final hidden state of the one before it."""
        both = torch.cat([self.pre_fc_norm_embedding(embeddings), self.pre_fc_norm_hidden(hidden)], dim=-1)
        tokens = both.shape[1]
        future = torch.full((tokens, tokens), float("-inf")).triu(1)[None, None]
        return self.norm(self.layers[0](self.fc(both), position_embeddings=rope, attention_mask=future))


def vector(name):
    """As `make.usual_vector`, with norms around their own neutral weight and decays from fast to slow."""
    if name.endswith("A_log"):
        return -2.5, 1.5
    mean, deviation = usual_vector(name)
    is_zero_centred = "visual" not in name and "linear_attn" not in name
    return 0.0 if is_zero_centred else mean, deviation


def older_config(config):
    """The same model with the layers' kinds by their interval, RoPE in three places, tied or not said once, and nulls."""
    text, vision = config["text_config"], config["vision_config"]
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope["rope_theta"]
    text["partial_rotary_factor"] = rope["partial_rotary_factor"]
    text["rope_scaling"] = {
        "mrope_interleaved": True, "mrope_section": rope["mrope_section"], "rope_type": rope["rope_type"],
    }  # fmt: skip
    text.pop("tie_word_embeddings", None)
    text.pop("layer_types")
    text |= {"full_attention_interval": 2, "attn_output_gate": True, "mamba_ssm_dtype": "float32"}
    text |= {"mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False}
    vision.pop("rope_parameters")
    vision |= {"model_type": "qwen3_5", "deepstack_visual_indexes": []}
    config["torch_dtype"] = config.pop("dtype")
    return config | {"bos_token_id": None, "pad_token_id": None, "sep_token_id": None, "finetuning_task": None}


def write_expected(folder, spec):
    reference = Reference(folder)
    head = open_draft_head(folder, reference.model.config.text_config)
    expected = []
    for case, (height, width, prompt) in enumerate(spec["cases"]):
        image = noise_image(height, width, seed=10 * spec["seed"] + case)
        # Linear attention normalises what it reads, however small it is, and with it the rounding.
        computed = compute_case(reference, image, prompt, bound=4e-5)
        drafts = {"drafts": draft_logits(reference.model, head, computed)} if head else {}
        expected.append(computed | drafts)
    save_expected(folder, expected, spec["cases"])


def open_draft_head(folder, config):
    weights = {}
    for path in folder.glob("model*.safetensors"):
        weights |= {name[4:]: tensor for name, tensor in load_file(path).items() if name.startswith("mtp.")}
    if not weights:
        return None
    head = DraftHead(config)
    head.load_state_dict(weights)
    return head.float().eval()


@torch.no_grad()
def draft_logits(model, head, computed):
    """The draft head's logits of the token after the next one, for the last 8 tokens but one: (8, vocabulary)."""
    language, positions = model.model.language_model, computed["position_ids"][:, None]
    hidden = [computed[f"hidden.{i}"][None] for i in range(len(language.layers) + 1)]
    rope = language.rotary_emb(hidden[0], positions[:, :, 1:])
    states = head(hidden[0][:, 1:], language.norm(hidden[-1])[:, :-1], rope)
    return model.lm_head(states)[0, -8:]
