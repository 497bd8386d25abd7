"""A model folder as the reference implementation runs it.

Not run by itself: `make.py` beside it does.
"""

import torch
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor


class Reference:
    """In f32 arithmetic, with eager attention."""

    def __init__(self, folder):
        self.model = AutoModelForImageTextToText.from_pretrained(
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
            f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n"
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

    def read(self, image, prompt):
        """The text of a page, its token ids with the closing one, and the smallest lead."""
        ids, lead = self.generate(self.inputs(image, prompt), 320)
        return self.tokenizer.decode(ids, skip_special_tokens=True), ids.tolist(), lead
