#!/usr/bin/env python3
"""Reads the example pages with the model in the program and with the same model behind `transformers serve`, an
OpenAI-compatible server, and compares the texts.

    pip install 'transformers[serving]' torch torchvision pillow
    cargo build --release
    python3 tests/serve.py

Both must agree on 95 in 100 characters: the server prepares the page by its own code, from a PNG.
"""

import difflib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READER = ROOT / "examples/reader"
OMNIDOCS = ROOT / "target/release/omnidocs"
AGREEMENT = 0.95
# What the program uses where a model's folder has no template of its own, which the server can't do without.
TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- for part in message.content -%}
{{ part.text if part.type == 'text' else '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- endfor -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{{ '<|im_start|>assistant\\n' }}
"""


def read(folder, model, name, *args):
    """The text of each page, by path and number."""
    # Pages that are sent to a server are as large as the model in the program would see them.
    size = json.loads((READER / "preprocessor_config.json").read_text())["size"]
    limits = ["--min-pixels", str(size["shortest_edge"]), "--max-pixels", str(size["longest_edge"])]
    output = folder / f"{name}.jsonl"
    command = [OMNIDOCS, "extract", ROOT / "examples/pages", "-o", output, "--model", model, *limits, *args]
    subprocess.run(command, check=True)
    records = map(json.loads, output.read_text().splitlines())
    return {(record["path"], record["page"]): record["content"] for record in records}


def wait_until_ready(server, url):
    for _ in range(240):
        if server.poll() is not None:
            sys.exit(f"transformers serve ended with {server.returncode}")
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.5)
    sys.exit("transformers serve did not start within two minutes")


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "transformers.cli.transformers"]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model = shutil.copytree(READER, folder / "reader")
        (model / "chat_template.jinja").write_text(TEMPLATE)
        command = [*program, "serve", model, "--device", "cpu", "--dtype", "float32", "--port", str(port)]
        # The list of models fails where there is no cache of models.
        server = subprocess.Popen(command, env={**os.environ, "HF_HUB_CACHE": str(folder)})
        try:
            wait_until_ready(server, f"http://127.0.0.1:{port}/health")
            url = f"http://127.0.0.1:{port}/v1"
            here = read(folder, model, "here", "--dtype", "f32")
            there = read(folder, model, "there", "--engine", "server", "--server-url", url)
        finally:
            server.terminate()
            server.wait()
    same = whole = 0
    for page, text in sorted(here.items()):
        matcher = difflib.SequenceMatcher(None, text, there[page], autojunk=False)
        same += sum(block.size for block in matcher.get_matching_blocks())
        whole += max(len(text), len(there[page]))
        if text != there[page]:
            print(f"{page}: {text!r} here, {there[page]!r} there")
    print(f"{len(here)} pages, {same} of {whole} characters agree ({100 * same / whole:.1f} %)")
    sys.exit(same < AGREEMENT * whole)


if __name__ == "__main__":
    main()
