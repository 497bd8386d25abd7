"""Trains the reader in this folder on pages that it draws itself (`pages.py`), asked in many ways (`prompts.py`).

    python -m venv venv
    venv/bin/pip install torch==2.15.0 torchvision==0.29.2 transformers==5.23.0 pillow==13.0.0 numpy==2.4.6
    apt-get install fonts-dejavu fonts-liberation wamerican g++
    venv/bin/python examples/reader/train.py OUT --init examples/reader/model.safetensors

The shape of the model and its tokenizer are those of this folder; the weights start from `--init`, or at random. Those
of `--init` stay as they are for the first 120 steps, in which the hints alone are learned.
On a GPU, `--device cuda --tokens 81920 --workers 14`: larger steps, for which a single process cannot draw enough pages.
Every few minutes `OUT/checkpoint.pt` is replaced, and `OUT/reader`, a model folder that the program can run: the
average of the latest weights, which reads much better than the latest weights themselves (but in a cool-down, in which
it is these). Started again with the same OUT, the training goes on from there, with the options given then. SIGTERM, to
this process alone and not to its group, makes it save and end; SIGSTOP and SIGCONT to the group pause it.

The rate is constant after a short warm-up, so the training has no end. `--cooldown-steps N` lets the rate fall to
nothing over the next N steps and then ends: do it last, for the weights that are to be kept. Started again without
it, the training goes on at the constant rate. The mean of what has come of it and of what it began from reads better
than either (`mean.py`); `--instead MEAN.safetensors` goes on from that, with all else that OUT holds.

The lines it prints: every 50 steps, by page size, the loss per token and, behind slashes, those of the hints; every
`--eval-steps` the share of characters that are wrong (edit distance over length of the truth, Markdown marks included),
greedily, on held-out pages of each size, clean and spoiled ones.
"""

import argparse
import copy
import itertools
import json
import math
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import AttentionInterface, DynamicCache, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import rotate_half

import pages
from prompts import DEFAULTS, any_prompt

HERE = Path(__file__).resolve().parent
PATCH, CELL = 16, 32  # pixels of a patch, and of the 2 x 2 patches that make one token
SIZES = [(160, 32), (256, 64), (320, 128), (448, 224), (640, 448)]
SHARES_FIRST = [0.04, 0.08, 0.24, 0.38, 0.26]  # of the steps, by size: at first, and from `--ramp-steps` on
SHARES_LAST = [0.03, 0.04, 0.08, 0.25, 0.60]
HARD_FIRST, HARD_LAST = 0.3, 0.9
SCAN = 3  # so hard that all of it happens to a page: turned, blurred, noisy and a JPEG
WRITERS = {"markdown": pages.markdown, "html": pages.as_html, "text": pages.plain}
IGNORED = -100  # label of a token that is not trained
POOL = 36_864  # tokens for which pages are drawn at once; or for twice as many as a step has, if that is more
HINTS_FIRST, HINTS_RATE = 120, 3e-3  # steps in which given weights stay as they are and hints alone learn; their rate
SLIPS = 0.08  # share of the words of an answer that come out wrong
LINES_LOST = 0.02  # share of its lines that are left out; and of those that come twice
SLOTS = CELL // pages.SLOT_HEIGHT, CELL // pages.SLOT_WIDTH  # rows and columns of slots in a cell


# --- batches -------------------------------------------------------------------------------------------------------


def any_size(rng, size):
    """`size`, or often another one of about the same area or more, the program's pages being of all shapes."""
    width, height = size
    if rng.random() < 0.6:
        return size
    if height <= 64:
        return CELL * rng.randint(160 // CELL, width // CELL + 4), height
    columns = round(width * rng.uniform(0.55, 1.2) / CELL)
    rows = round(height * width * rng.uniform(0.9, 1.25) / columns / CELL**2)
    return columns * CELL, max(3, rows) * CELL


class Batches(IterableDataset):
    """The batches of the training from step `first` on: pages of one size, of about `tokens` tokens with their padding."""

    def __init__(self, args, tokenizer, first):
        self.args, self.tokenizer, self.first = args, tokenizer, first
        tokens = tokenizer.get_vocab().items()
        self.begins_word = {n for token, n in tokens if token[0] in "ĠĊ"}
        self.begins_line = {n for token, n in tokens if token[0] == "Ċ"}

    def __iter__(self):
        ready = [[] for _ in SIZES]
        worker = get_worker_info()
        for step in itertools.count(self.first + worker.id, worker.num_workers):
            rng = random.Random(f"{self.args.seed} {step}")
            along = min(1, step / self.args.ramp_steps)
            shares = [a + (b - a) * along for a, b in zip(SHARES_FIRST, SHARES_LAST)]
            number = rng.choices(range(len(SIZES)), shares)[0]
            if not ready[number]:
                ready[number] = self.several(rng, SIZES[number], along)
            yield number, ready[number].pop()

    def several(self, rng, size, along):
        """Batches for a few steps; pages of about the same length are in one, so that there is little to pad."""
        size = any_size(rng, size)
        # A page in three is clean, as most are that the reader will be asked to read; in the end nearly as many are scans.
        hardness = (0, 0.34), (SCAN, 0.3 * along), (HARD_FIRST + (HARD_LAST - HARD_FIRST) * along, 0.66 - 0.3 * along)
        # The same for all pages of a batch, for the same reason: HTML and the program's prompts are long.
        form = rng.choices(("markdown", "html", "text"), (0.76, 0.12, 0.12))[0]
        default = rng.random() < 0.12
        drawn, lengths = [], 0
        while lengths < max(POOL, 2 * self.args.tokens):
            image, blocks, glyphs = pages.draw(rng, size, rng.choices(*zip(*hardness))[0])
            prompt = self.tokenizer.encode(DEFAULTS[form] if default else any_prompt(rng, form)).ids
            text = WRITERS[form](blocks)
            answer = self.tokenizer.encode(text + "<|im_end|>")
            length = size[0] * size[1] // CELL**2 + len(prompt) + len(answer.ids) + 12
            hints = slots(glyphs, size), places(answer, pages.follow(text, glyphs), size)
            drawn.append((length, len(drawn), np.asarray(image), prompt, answer.ids, *hints))
            lengths += length
        batches, rows = [], []
        for page in sorted(drawn, reverse=rng.random() < 0.5):
            if rows and (len(rows) + 1) * max(rows[0][0], page[0]) > self.args.tokens:
                batches.append(rows)
                rows = []
            rows.append(page)
        if not batches or 2 * len(rows) > len(batches[-1]):
            batches.append(rows)  # the rest, the longest or shortest, which is smaller
        rng.shuffle(batches)
        return [self.batch(rng, rows) for rows in batches]

    def batch(self, rng, rows):
        images, prompts, answers, slots, places = list(zip(*rows))[2:]
        words = [in_words(answer, self.begins_word) for answer in answers]
        slipped = (with_slips(rng, *of_page, words, self.begins_line) for of_page in zip(words, places))
        said, wanted, places = zip(*slipped)
        batch = sequences(self.tokenizer, np.stack(images), prompts, said)
        batch["slots"] = torch.from_numpy(np.stack(slots))
        batch["places"] = torch.full_like(batch["labels"], IGNORED)
        for labels, printed, *of_page in zip(batch["labels"], batch["places"], wanted, places):
            answer = labels != IGNORED
            labels[answer], printed[answer] = map(torch.tensor, of_page)
        return batch


def in_words(answer, begins_word):
    """The tokens of an answer, in words with the space before them; `begins_word`: the tokens that start with one."""
    words = []
    for token in answer:
        if not words or token in begins_word:
            words.append([])
        words[-1].append(token)
    return words


def with_slips(rng, answer, places, others, begins_line):
    """What a reader has said that has misread a word here and there, or lost a line; for each token the right one, and
    its place.

    A reader that has only ever seen right answers trusts what it has said more than the page, and loses its place at
    the first word that it misreads. Here the rest of a word is often that of another one, of this page or of one beside
    it (`others`); and what is right is to go on with the next word. All words are those of `in_words`.
    """
    lines, done = [], 0
    for n, word in enumerate(answer):
        if not lines or word[0] in begins_line:
            lines.append([])
        spoken, known = word, len(word)
        if rng.random() < SLIPS and n < len(answer) - 1:
            begin = rng.randrange(len(word))
            other = rng.choice(answer if rng.random() < 0.5 else rng.choice(others))
            spoken = word[:begin] + other[rng.randrange(len(other)) :]
            known = begin + 1  # behind a wrong token, none is right before the next word
        unknown = [IGNORED] * (len(spoken) - known)
        lines[-1].append((spoken, word[:known] + unknown, places[done : done + known] + unknown))
        done += len(word)
    return [list(itertools.chain(*parts)) for parts in zip(*with_lines_lost(rng, lines))]


def with_lines_lost(rng, lines):
    """The words of `lines`, some of which are left out or come twice; and what is right is to go on with the next line."""
    skipped = False
    for n, line in enumerate(lines):
        lost = rng.random() if 0 < n < len(lines) - 1 else 1
        if lost < LINES_LOST:
            skipped = True
            continue
        yield from [*map(unlearned, line[:skipped]), *line[skipped:]]  # to begin with this line is wrong after a skip
        skipped = False
        if lost < 2 * LINES_LOST:
            yield from map(unlearned, line if rng.random() < 0.7 else rng.choice(lines[1 : n + 1]))


def unlearned(word):
    """A word that is said, but should not have been."""
    said, *_ = word
    return said, [IGNORED] * len(said), [IGNORED] * len(said)


def slots(glyphs, size):
    """(height / 16, width / 4) u8: which of `CHARACTERS`, from 1, has its middle there; 0 where none has."""
    width, height = size
    found = np.zeros((height // pages.SLOT_HEIGHT, width // pages.SLOT_WIDTH), np.uint8)
    for x, y, char, _ in glyphs:
        if 0 <= x < width and 0 <= y < height:
            found[slot_at(x, y)] = 1 + pages.CHARACTERS.index(char)
    return found


def slot_at(x, y):
    """Row and column of a slot of the page."""
    return int(y) // pages.SLOT_HEIGHT, int(x) // pages.SLOT_WIDTH


def places(answer, glyphs, size):
    """For each token of an answer, in which slot of the page its first character is printed: those of a cell are
    numbered row by row, and so are the cells.

    `glyphs`: of each character of the answer, as `pages.follow` finds them.
    """
    width, height = size
    found = []
    for start, end in answer.offsets:
        x, y, *_ = next(filter(None, glyphs[start:end]), (-1, -1))
        row, column = slot_at(x, y)
        cell = row // SLOTS[0] * (width // CELL) + column // SLOTS[1]
        slot = row % SLOTS[0] * SLOTS[1] + column % SLOTS[1]
        inside = 0 <= x < width and 0 <= y < height
        found.append(cell * math.prod(SLOTS) + slot if inside else IGNORED)
    return found


def sequences(tokenizer, images, prompts, answers):
    """What the model is given: pages (n, h, w, 3) u8, token ids of n prompts and n answers; padded at the end."""
    height, width = images.shape[1] // CELL, images.shape[2] // CELL
    before = tokenizer.encode("<|im_start|>user\n<|vision_start|>").ids
    behind = tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n").ids
    end = tokenizer.token_to_id("<|vision_end|>")
    image = [tokenizer.token_to_id("<|image_pad|>")] * (height * width)
    rows = [(before + image + [end] + prompt + behind, answer) for prompt, answer in zip(prompts, answers)]
    length = max(len(asked) + len(answer) for asked, answer in rows)
    ids = torch.full((len(rows), length), tokenizer.token_to_id("<|endoftext|>"))
    labels = torch.full((len(rows), length), IGNORED)
    for n, (asked, answer) in enumerate(rows):
        ids[n, : len(asked) + len(answer)] = torch.tensor(asked + answer)
        labels[n, len(asked) : len(asked) + len(answer)] = torch.tensor(answer)
    return {
        "images": torch.from_numpy(images),
        "input_ids": ids,
        "labels": labels,
        "image_span": (len(before), height * width),
        "position_ids": positions(len(before), height, width, length)[:, None].repeat(1, len(rows), 1),
    }


def positions(before, height, width, length):
    """(3, length): of a sequence with an image of `height` x `width` tokens after `before` tokens."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = before + torch.stack([torch.zeros_like(rows), rows, columns]).flatten(1)
    rest = length - before - height * width
    text = torch.arange(rest) + before + max(height, width)
    return torch.cat([torch.arange(before).expand(3, -1), image, text.expand(3, -1)], 1)


def on(device, batch):
    """A batch of `Batches` or of `sequences`, there."""
    return {name: t.to(device, non_blocking=True) if isinstance(t, torch.Tensor) else t for name, t in batch.items()}


def pixels(images):
    """Patches (n * patches, 3 * 2 * 16 * 16) of pages (n, h, w, 3) u8, in the order of the vision tower; the grids."""
    n, height, width, _ = images.shape
    rows, columns = height // PATCH, width // PATCH
    x = images.to(torch.float32) / 127.5 - 1
    x = x.view(n, rows // 2, 2, PATCH, columns // 2, 2, PATCH, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    x = x.reshape(-1, 3, 1, PATCH * PATCH).expand(-1, 3, 2, -1).reshape(-1, 3 * 2 * PATCH * PATCH)
    return {"pixel_values": x, "image_grid_thw": torch.tensor([[1, rows, columns]] * n, device=x.device)}


# --- the model -----------------------------------------------------------------------------------------------------


@torch.compile(dynamic=True)
def before_attention(block, x, cos, sin):
    """Queries, keys and values of all images, (3, patches, heads, width), turned by their places."""
    attention = block.attn
    query, key, value = attention.qkv(block.norm1(x)).view(len(x), 3, attention.num_heads, -1).unbind(1)
    cos, sin = cos[:, None], sin[:, None]
    query, key = (t * cos + rotate_half(t) * sin for t in (query.float(), key.float()))
    return torch.stack([(query * attention.scaling).to(value.dtype), key.to(value.dtype), value])


def vision_attention(qkv, images):
    """Within each image; products of bf16 are faster on a CPU than PyTorch's own attention."""
    if qkv.is_cuda:
        attended = scaled_dot_product_attention(*qkv.unflatten(1, (images, -1)).transpose(2, 3), scale=1)
        return attended.transpose(1, 2).flatten(0, 1).flatten(1)
    answers = []
    for of_image in qkv.chunk(images, 1):
        query, key, value = of_image.transpose(1, 2)
        answers.append((torch.softmax(query @ key.mT, -1) @ value).transpose(0, 1))
    return torch.cat(answers).flatten(1)


@torch.compile(dynamic=True)
def after_attention(block, x, attended):
    x = x + block.attn.proj(attended)
    return x + block.mlp(block.norm2(x))


class VisionBlock(torch.nn.Module):
    """A block as it is, for images of one size: what can be compiled apart from what depends on their number."""

    def __init__(self, original):
        super().__init__()
        self.norm1, self.norm2, self.attn, self.mlp = original.norm1, original.norm2, original.attn, original.mlp

    def forward(self, x, cu_seqlens, position_embeddings, **_):
        attended = vision_attention(before_attention(self, x, *position_embeddings), len(cu_seqlens) - 1)
        return after_attention(self, x, attended)


def text_attention(_module, query, key, value, _mask, scaling, **_):
    """Each token to those before it, (batch, heads, seq, width); on a CPU by products where the sequence is short."""
    batch, heads, seq, width = query.shape
    groups, before = key.shape[1], key.shape[2] - seq
    if (seq > 512 or query.is_cuda) and not before:
        how = {"is_causal": True, "scale": scaling, "enable_gqa": True}
        return scaled_dot_product_attention(query, key, value, **how).transpose(1, 2), None
    query = (query * scaling).reshape(batch * groups, heads // groups * seq, width)
    mask = query.new_full((seq, seq + before), float("-inf")).triu(before + 1).repeat(heads // groups, 1)
    scores = torch.baddbmm(mask, query, key.flatten(0, 1).transpose(1, 2))
    answer = torch.softmax(scores, -1) @ value.flatten(0, 1)
    return answer.view(batch, heads, seq, width).transpose(1, 2), None


class PatchEmbed(torch.nn.Module):
    """The convolution over patches as the one product that it is, which is five times as fast here."""

    def __init__(self, original):
        super().__init__()
        self.proj = original.proj

    def forward(self, patches):
        return torch.nn.functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


def build(init):
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_pretrained(HERE))
    AttentionInterface.register("of text", text_attention)
    visual = model.model.visual
    visual.blocks = torch.nn.ModuleList(VisionBlock(block) for block in visual.blocks)
    model.model.language_model.config._attn_implementation = "of text"
    visual.patch_embed = PatchEmbed(visual.patch_embed)
    if init:
        start_from(model, init)
    return model


def start_from(model, init):
    """Loads the file of weights; blocks and layers that it lacks have no effect at first."""
    missing = set(model.load_state_dict(load_file(init), strict=False).missing_keys) - {"lm_head.weight"}
    names = {module: name for name, module in model.named_modules()}
    blocks = [(block, block.attn.proj, block.mlp.linear_fc2) for block in model.model.visual.blocks]
    blocks += [(layer, layer.self_attn.o_proj, layer.mlp.down_proj) for layer in model.model.language_model.layers]
    for block, *last in blocks:
        of_block = {f"{names[block]}.{name}" for name in block.state_dict()}
        if of_block <= missing:
            missing -= of_block
            for linear in last:
                torch.nn.init.zeros_(linear.weight)
    if missing:
        raise SystemExit(f"{init}: it lacks {sorted(missing)}")


def compile_parts(model):
    """Makes a model faster that is trained; one that is asked would be compiled again for every new length."""
    visual = model.model.visual
    for module in (*model.model.language_model.layers, visual.merger, *visual.deepstack_merger_list):
        module.compile(dynamic=True)


class Hints(torch.nn.Module):
    """What only a training knows, since it has drawn the pages: which character stands where.

    The vision tower must tell what stands in each slot of a cell, by the token that it makes of the cell; and the
    decoder, halfway up, in which cell the next token is printed, and in which slot of it. It is asked at several
    layers, for the later ones can start from where an earlier one has found the tokens before, and know far better.
    All this is trained together with the reader and then left out. The answers alone, which say what a page holds but
    not where, teach a model to read much more slowly.
    """

    LAYERS = 2, 3, 4

    def __init__(self, model):
        super().__init__()
        hidden = model.config.text_config.hidden_size
        self.slots = torch.nn.Linear(hidden, math.prod(SLOTS) * (1 + len(pages.CHARACTERS)))
        self.pointers = torch.nn.ModuleList(Pointer(hidden) for _ in self.LAYERS)
        self.heard = {}
        self.listen(model.model.visual.merger, "cells")
        for n in self.LAYERS:
            self.listen(model.model.language_model.layers[n], n)

    def listen(self, module, name):
        module.register_forward_hook(lambda _module, _inputs, output: self.heard.update({name: output}))

    def losses(self, batch):
        """Of the batch that the model has just seen: per slot, and per token of the answers at each layer."""
        where = batch["places"], *batch["image_span"]
        pointing = [pointer(self.heard[n], *where) for pointer, n in zip(self.pointers, self.LAYERS)]
        return self.spotting(batch["slots"]), *pointing

    def spotting(self, slots):
        (rows, columns), n = SLOTS, len(slots)
        slots = slots.view(n, slots.shape[1] // rows, rows, -1, columns).transpose(2, 3).flatten().long()
        guesses = self.slots(self.heard["cells"]).view(len(slots), -1).float()
        weight = guesses.new_ones(guesses.shape[1])
        weight[0] = 0.25  # most slots are empty
        return torch.nn.functional.cross_entropy(guesses, slots, weight)


class Pointer(torch.nn.Module):
    """Of the tokens (batch, seq, hidden) of one layer: where the next one is printed, see `places`."""

    WIDTH = 64

    def __init__(self, hidden):
        super().__init__()
        self.here = torch.nn.Linear(hidden, self.WIDTH, bias=False)
        self.there = torch.nn.Linear(hidden, self.WIDTH, bias=False)
        self.inside = torch.nn.Linear(hidden, math.prod(SLOTS))

    def forward(self, tokens, places, start, count):
        """The loss per token; the tokens of the image are `count` from `start` on."""
        tokens = torch.nn.functional.rms_norm(tokens, tokens.shape[2:])
        there = self.there(tokens[:, start : start + count])
        before, known = tokens[:, :-1], places[:, 1:] != IGNORED
        wanted = places[:, 1:][known]
        cells = (self.here(before) @ there.transpose(1, 2))[known] / self.WIDTH**0.5
        cell, slot = wanted // math.prod(SLOTS), wanted % math.prod(SLOTS)
        cross_entropy = torch.nn.functional.cross_entropy
        return cross_entropy(cells.float(), cell) + cross_entropy(self.inside(before[known]).float(), slot) / 2


def optimizers(model, hints):
    """Muon for the matrices of the blocks; AdamW for embeddings, norms and biases, and for the hints."""
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    known = {id(p) for p in hidden}
    others = [p for p in [*model.parameters(), *hints.parameters()] if id(p) not in known]
    return [
        torch.optim.Muon(hidden, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def hints_first(args):
    """How many steps only the hints learn: while they know nothing, they can tell good weights nothing."""
    return HINTS_FIRST if args.init else 0


def rate(args, step, cooling):
    """The learning rate; `cooling`: the step at which the cool-down began."""
    if step < hints_first(args):
        return HINTS_RATE
    peak = args.lr * min(1, (step + 1 - hints_first(args)) / args.warmup_steps)
    return peak if cooling is None else peak * max(0, 1 - (step - cooling) / args.cooldown_steps)


def losses_of(model, hints, batch, model_learns):
    """Of the answers, per token, and of the hints."""
    inputs = {name: batch[name] for name in ("input_ids", "labels", "position_ids")}
    with torch.autocast(batch["images"].device.type, torch.bfloat16):
        with torch.set_grad_enabled(model_learns):
            answers = model(**inputs, **pixels(batch["images"]), use_cache=False).loss
        return answers, *hints.losses(batch)


# --- how well it reads ---------------------------------------------------------------------------------------------


@torch.no_grad()
def read(model, tokenizer, images, prompt, limit):
    """The greedy answers to one prompt on pages (n, h, w, 3) u8, of at most `limit` tokens."""
    prompts, nothing = [tokenizer.encode(prompt).ids] * len(images), [[]] * len(images)
    batch = on(model.device, sequences(tokenizer, images, prompts, nothing))
    end = tokenizer.token_to_id("<|im_end|>")
    inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"], **pixels(batch["images"])}
    cache, answers = DynamicCache(config=model.config), []
    open_ = torch.ones(len(images), dtype=torch.bool, device=model.device)
    place = batch["position_ids"][:, :, -1:]
    for _ in range(limit):
        logits = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        chosen = logits.argmax(-1)
        answers.append(torch.where(open_, chosen, end))
        open_ &= chosen != end
        if not open_.any():
            break
        place = place + 1
        inputs = {"input_ids": chosen[:, None], "position_ids": place}
    return [tokenizer.decode(ids) for ids in torch.stack(answers, 1).tolist()]


def distance(a, b):
    """Edits that turn one text into the other (Myers' bit vectors, in Hyyrö's form)."""
    if not a or not b:
        return len(a) + len(b)
    where = {}
    for n, char in enumerate(a):
        where[char] = where.get(char, 0) | 1 << n
    full, last, score = (1 << len(a)) - 1, 1 << (len(a) - 1), len(a)
    plus, minus = full, 0
    for char in b:
        match = where.get(char, 0)
        zero = (((match & plus) + plus) ^ plus) | match | minus
        across, along = minus | ~(zero | plus), plus & zero
        score += bool(across & last) - bool(along & last)
        across, along = across << 1 | 1, along << 1
        plus, minus = (along | ~(zero | across)) & full, across & zero & full
    return score


def evaluate(model, tokenizer, count):
    """Prints the share of wrong characters by page size, on `count` clean and `count` spoiled held-out pages each."""
    model.eval()
    for size in SIZES:
        shares = []
        for hard in (0, 1):
            drawn = [pages.draw(random.Random(f"held out {size} {hard} {n}"), size, hard, True) for n in range(count)]
            truth = [pages.markdown(blocks) for _, blocks, _ in drawn]
            limit = max(len(tokenizer.encode(text).ids) for text in truth) + 10
            images = np.stack([np.asarray(image) for image, _, _ in drawn])
            said = read(model, tokenizer, images, DEFAULTS["markdown"], limit)
            shares.append(sum(map(distance, truth, said)) / sum(map(len, truth)))
        print(f"  held out {size[0]}x{size[1]}: clean {shares[0]:.2%}, spoiled {shares[1]:.2%}", flush=True)
    model.train()


# --- what is kept --------------------------------------------------------------------------------------------------


def replace(path, write):
    """Writes a file that is either the old one or whole."""
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)


def publish(folder, model):
    """The files of a model folder, as they are published."""
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        replace(folder / name, lambda part: shutil.copyfile(HERE / name, part))
    limits = json.loads((HERE / "preprocessor_config.json").read_text())
    areas = [width * height for width, height in SIZES]
    limits["size"] = {"longest_edge": max(areas), "shortest_edge": min(areas)}
    replace(folder / "preprocessor_config.json", lambda part: part.write_text(json.dumps(limits, indent=1)))
    replace(folder / "model.safetensors", lambda part: save_weights(part, model))


def save_weights(path, model):
    """As they are published: bf16, without the head, whose weights are those of the embedding."""
    weights = {name: t.to(torch.bfloat16) for name, t in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, path, {"format": "pt"})


class Training:
    """Everything that a checkpoint holds."""

    def __init__(self, args):
        self.model = build(args.init).to(args.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        compile_parts(self.model)
        self.hints = Hints(self.model).to(args.device)
        self.optimizers = optimizers(self.model, self.hints)
        self.step, self.cooling = 0, None
        self.file = args.out / "checkpoint.pt"
        if self.file.exists():
            self.restore(torch.load(self.file, args.device))
        if args.instead:
            for model in (self.model, self.average):
                start_from(model, args.instead)
            self.cooling = None
        if not args.cooldown_steps:
            self.cooling = None
        elif self.cooling is None:
            self.cooling = self.step

    def restore(self, saved):
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.hints.load_state_dict(saved["hints"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        self.step, self.cooling = saved["step"], saved["cooling"]

    def save(self):
        saved = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "hints": self.hints.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "cooling": self.cooling,
        }
        replace(self.file, lambda part: torch.save(saved, part))
        publish(self.file.parent / "reader", self.average)

    def advance(self, batch, rate, model_learns):
        """One step; the losses before it."""
        losses = losses_of(self.model, self.hints, batch, model_learns)
        answers, spotting, *pointing = losses
        # In a cool-down, what is left to learn from the answers would be drowned by the hints' larger gradients.
        share = 1 if self.cooling is None else 0.25
        (answers + share * (spotting + sum(pointing) / 2)).backward()
        torch.nn.utils.clip_grad_norm_([*self.model.parameters(), *self.hints.parameters()], 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        # While the rate falls, the weights settle by themselves, and an average would lag behind them.
        keep = min(0.999, (self.step + 1) / (self.step + 10)) if self.cooling is None else 0
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)
        return torch.stack(losses).tolist()


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the checkpoint and the model")
    parser.add_argument("--init", type=Path, help="model.safetensors to start from")
    parser.add_argument("--instead", type=Path,
                        help="model.safetensors to go on from, for once, instead of OUT's weights: see `mean.py`")  # fmt: skip
    parser.add_argument("--lr", type=float, default=1.5e-3, help="learning rate (default %(default)s)")
    parser.add_argument("--tokens", type=int, default=6144, help="tokens of a step (default %(default)s)")
    parser.add_argument("--warmup-steps", type=int, default=100, help="(default %(default)s)")
    parser.add_argument("--ramp-steps", type=int, default=8000,
                        help="until pages are as large and as hard as they get (default %(default)s)")  # fmt: skip
    parser.add_argument("--cooldown-steps", type=int, help="let the rate fall to nothing over N steps, then end")
    parser.add_argument("--eval-steps", type=int, default=1000, help="(default %(default)s)")
    parser.add_argument("--eval-pages", type=int, default=16, help="per size, clean and spoiled (default %(default)s)")
    parser.add_argument("--save-minutes", type=float, default=5, help="(default %(default)s)")
    parser.add_argument("--max-steps", type=int, help="save and end at this step")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pages (default %(default)s)")
    parser.add_argument("--seed", default="reader", help="of the pages and of random weights (default %(default)s)")
    return parser.parse_args()


def recent(losses):
    """By page size, of the last 20 steps: the loss of the answers, and those of the hints."""
    means = [[sum(values) / len(values) for values in zip(*of_size[-20:])] for of_size in losses]
    return " ".join("/".join(f"{mean:.3f}" for mean in of_size) or "-" for of_size in means)


def main():
    args = options()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    if args.device == "cuda":
        torch.compiler.set_stance("force_eager")  # compiling was not tried there
    torch.manual_seed(random.Random(args.seed).getrandbits(32))
    training = Training(args)
    print(f"{sum(p.numel() for p in training.model.parameters()):,} parameters, from step {training.step}", flush=True)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    saved = shown = time.time()
    losses = [[] for _ in SIZES]
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    batches = Batches(args, tokenizer, training.step)
    ahead = {"num_workers": args.workers, "prefetch_factor": 6, "pin_memory": args.device == "cuda"}
    last = training.cooling + args.cooldown_steps if args.cooldown_steps else args.max_steps or math.inf
    for number, batch in DataLoader(batches, batch_size=None, **ahead):
        if stop or training.step >= last:
            break
        lr = rate(args, training.step, training.cooling)
        losses[number].append(training.advance(on(args.device, batch), lr, training.step >= hints_first(args)))
        if training.step % 50 == 0:
            took, shown = (time.time() - shown) / 50, time.time()
            print(f"step {training.step} loss {recent(losses)} rate {lr:.1e} {took:.2f} s/step", flush=True)
        if training.step % args.eval_steps == 0:
            evaluate(training.average, tokenizer, args.eval_pages)
        if time.time() - saved > args.save_minutes * 60:
            training.save()
            saved = time.time()
    training.save()
    if not stop:
        evaluate(training.average, tokenizer, args.eval_pages)


if __name__ == "__main__":
    main()
