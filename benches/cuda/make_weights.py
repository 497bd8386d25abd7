#!/usr/bin/env python3
"""Makes a model of a published shape with random bf16 weights, in shards: make_weights.py 2b|4b|8b|tiny FOLDER READER

They are drawn on the GPU if there is one. READER is examples/reader: its tokenizer's 391 ids fit into the vocabulary."""
import json
import shutil
import sys
import time
from pathlib import Path

SHAPES = {
    "2b": dict(h=2048, l=28, f=6144, q=16, kv=8, vd=24, vh=1024, vf=4096, taps=[5, 11, 17], tied=True),
    "4b": dict(h=2560, l=36, f=9728, q=32, kv=8, vd=24, vh=1024, vf=4096, taps=[5, 11, 17], tied=True),
    "8b": dict(h=4096, l=36, f=12288, q=32, kv=8, vd=27, vh=1152, vf=4304, taps=[8, 16, 24], tied=False),
    # For rehearsals without a GPU.
    "tiny": dict(h=256, l=2, f=640, q=4, kv=2, vd=2, vh=128, vf=256, taps=[0, 1], tied=True),
}
SHARD = 4 << 30


def names(s):
    """All tensors: name, shape, and how they are drawn ("n": normal, "1", "0")."""
    p, d = "model.language_model", 128
    yield f"{p}.embed_tokens.weight", (151936, s["h"]), "n"
    for i in range(s["l"]):
        q = f"{p}.layers.{i}"
        yield f"{q}.self_attn.q_proj.weight", (s["q"] * d, s["h"]), "n"
        yield f"{q}.self_attn.k_proj.weight", (s["kv"] * d, s["h"]), "n"
        yield f"{q}.self_attn.v_proj.weight", (s["kv"] * d, s["h"]), "n"
        yield f"{q}.self_attn.o_proj.weight", (s["h"], s["q"] * d), "n"
        yield f"{q}.self_attn.q_norm.weight", (d,), "1"
        yield f"{q}.self_attn.k_norm.weight", (d,), "1"
        yield f"{q}.mlp.gate_proj.weight", (s["f"], s["h"]), "n"
        yield f"{q}.mlp.up_proj.weight", (s["f"], s["h"]), "n"
        yield f"{q}.mlp.down_proj.weight", (s["h"], s["f"]), "n"
        yield f"{q}.input_layernorm.weight", (s["h"],), "1"
        yield f"{q}.post_attention_layernorm.weight", (s["h"],), "1"
    yield f"{p}.norm.weight", (s["h"],), "1"
    if not s["tied"]:
        yield "lm_head.weight", (151936, s["h"]), "n"
    v, h = "model.visual", s["vh"]
    yield f"{v}.patch_embed.proj.weight", (h, 3, 2, 16, 16), "n"
    yield f"{v}.patch_embed.proj.bias", (h,), "0"
    yield f"{v}.pos_embed.weight", (2304, h), "n"
    for i in range(s["vd"]):
        b = f"{v}.blocks.{i}"
        for part, out, inn in [("attn.qkv", 3 * h, h), ("attn.proj", h, h), ("mlp.linear_fc1", s["vf"], h), ("mlp.linear_fc2", h, s["vf"])]:
            yield f"{b}.{part}.weight", (out, inn), "n"
            yield f"{b}.{part}.bias", (out,), "0"
        for part in ["norm1", "norm2"]:
            yield f"{b}.{part}.weight", (h,), "1"
            yield f"{b}.{part}.bias", (h,), "0"
    mergers = [(f"{v}.merger", h)] + [(f"{v}.deepstack_merger_list.{i}", 4 * h) for i in range(len(s["taps"]))]
    for m, normed in mergers:
        yield f"{m}.norm.weight", (normed,), "1"
        yield f"{m}.norm.bias", (normed,), "0"
        yield f"{m}.linear_fc1.weight", (4 * h, 4 * h), "n"
        yield f"{m}.linear_fc1.bias", (4 * h,), "0"
        yield f"{m}.linear_fc2.weight", (s["h"], 4 * h), "n"
        yield f"{m}.linear_fc2.bias", (s["h"],), "0"


def config(s):
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "dtype": "bfloat16",
        "image_token_id": 389, "video_token_id": 390, "vision_start_token_id": 387, "vision_end_token_id": 388,
        "tie_word_embeddings": s["tied"],
        "text_config": {
            "model_type": "qwen3_vl_text", "vocab_size": 151936, "hidden_size": s["h"], "intermediate_size": s["f"],
            "num_hidden_layers": s["l"], "num_attention_heads": s["q"], "num_key_value_heads": s["kv"], "head_dim": 128,
            "hidden_act": "silu", "max_position_embeddings": 262144, "rms_norm_eps": 1e-6, "attention_bias": False,
            "attention_dropout": 0.0, "bos_token_id": 384, "eos_token_id": 386, "use_cache": True, "initializer_range": 0.02,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5000000.0, "mrope_section": [24, 20, 20], "mrope_interleaved": True},
            "tie_word_embeddings": s["tied"],
        },
        "vision_config": {
            "model_type": "qwen3_vl_vision", "depth": s["vd"], "hidden_size": s["vh"], "intermediate_size": s["vf"], "num_heads": 16,
            "in_channels": 3, "patch_size": 16, "temporal_patch_size": 2, "spatial_merge_size": 2, "out_hidden_size": s["h"],
            "num_position_embeddings": 2304, "deepstack_visual_indexes": s["taps"], "hidden_act": "gelu_pytorch_tanh",
            "initializer_range": 0.02, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "axial"},
        },
    }


def write_beside_weights(shape, folder, reader):
    """Writes all files of a model but its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    reference = json.loads((reader / "config.json").read_text())
    made = config(shape)
    for name in ["image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"]:
        if name in reference:
            made[name] = reference[name]
    made["vision_config"]["model_type"] = reference["vision_config"].get("model_type", "qwen3_vl")
    (folder / "config.json").write_text(json.dumps(made, indent=1))
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(reader / name, folder)
    # No token ends an answer: ids beyond the tokenizer's are as likely as any.
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [386], "do_sample": False, "pad_token_id": 384}))
    processor = json.loads((reader / "preprocessor_config.json").read_text())
    processor["size"] = {"shortest_edge": 65536, "longest_edge": 16777216}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def main():
    import torch
    from safetensors.torch import save_file

    shape, folder, reader = SHAPES[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3])
    begin = time.time()
    write_beside_weights(shape, folder, reader)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    shards, size, total, place = [{}], 0, 0, {}
    for name, dims, how in names(shape):
        if how == "n":
            tensor = torch.empty(dims, dtype=torch.bfloat16, device=device).normal_(std=0.02)
        else:
            tensor = torch.full(dims, float(how), dtype=torch.bfloat16, device=device)
        bytes_ = tensor.numel() * 2
        if size + bytes_ > SHARD and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.cpu()
        size, total = size + bytes_, total + bytes_
        place[name] = len(shards)
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors")
    else:
        file = lambda i: f"model-{i:05}-of-{len(shards):05}.safetensors"
        for i, shard in enumerate(shards, 1):
            save_file(shard, folder / file(i), metadata={"format": "pt"})
        index = {"metadata": {"total_size": total}, "weight_map": {name: file(i) for name, i in place.items()}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    print(f"made {sys.argv[1]}: {total / 1e9:.2f} GB in {len(shards)} shards, {time.time() - begin:.1f} s")


if __name__ == "__main__":
    main()
