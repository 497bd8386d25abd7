#!/usr/bin/env bash
# Times loading, prefill and decoding on a CUDA device, and decoding against what the device's memory allows.
#
#     benches/cuda.sh FOLDER-OF-WEIGHTS [DOCUMENT]
#
# DOCUMENT is a PDF of two pages or more, or a folder; without it, three pages of text are made. Pages are read at one
# megapixel, one after the other; the first one also pays for what is set up once and is not counted, the figures are
# medians of the others. In the environment: FLASH=1 builds with flash-attention, DEVICE=cuda:1 takes another device,
# DTYPE=q8_0 other weights, TOKENS=512 longer answers (256), BANDWIDTH=3350 tells the device's memory bandwidth in GB/s.
# PROGRAM=omnidocs takes a program that is built already, such as the check program of benches/cuda. Wants python3, and without
# PROGRAM a Rust toolchain; where there is no nvcc, NVIDIA's compiler comes from PyPI into target/cuda-check. FLASH=1 also wants
# git, GitHub, and about two and a half hours of one core.
set -euo pipefail
. "$(dirname "$0")/cuda/toolkit.sh"

[ $# -ge 1 ] || die "which model? Give the folder with its config.json and *.safetensors: $0 FOLDER [DOCUMENT]"
for file in config.json tokenizer.json; do
  [ -f "$1/$file" ] || die "there is no $file in $1; give a folder in the published layout, as Hugging Face has it"
done
weights=$(cd "$1" && pwd)
document=${2:+$(realpath "$2")}
[ -z "${PROGRAM:-}" ] || PROGRAM=$(realpath "$PROGRAM")
cd "$(dirname "$0")/.."

command -v python3 >/dev/null || die "python3 is needed, and is not on the PATH"
device=${DEVICE:-cuda:0}
[[ $device =~ ^cuda:[0-9]+$ ]] || die "DEVICE=$device is not of the form cuda:N"
command -v nvidia-smi >/dev/null || die "there is no NVIDIA driver here: nvidia-smi is not on the PATH"
name=$(nvidia-smi --id="${device#cuda:}" --query-gpu=name --format=csv,noheader) ||
  die "there is no GPU ${device#cuda:} here: nvidia-smi says \"$name\""

# Memory bandwidth in GB/s by what nvidia-smi calls the device, from NVIDIA's data sheets.
bandwidth() {
  case ${1#NVIDIA } in
    B200*) echo 8000 ;;
    GH200*) echo 4000 ;;
    H200*) echo 4800 ;;
    "H100 NVL") echo 3938 ;;
    "H100 PCIe") echo 2039 ;;
    H100*) echo 3350 ;;
    "A100 80GB PCIe") echo 1935 ;;
    A100-SXM4-80GB) echo 2039 ;;
    A100*) echo 1555 ;;
    L40 | L40S) echo 864 ;;
    L4) echo 300 ;;
    A40) echo 696 ;;
    A30) echo 933 ;;
    A10 | A10G) echo 600 ;;
    "RTX 6000 Ada Generation") echo 960 ;;
    "RTX A6000") echo 768 ;;
    "GeForce RTX 5090") echo 1792 ;;
    "GeForce RTX 4090") echo 1008 ;;
    "GeForce RTX 3090") echo 936 ;;
    *) return 1 ;;
  esac
}
bandwidth=${BANDWIDTH:-$(bandwidth "$name")} ||
  die "the memory bandwidth of $name is not known here; say it, in GB/s: BANDWIDTH=… $0 $*"

program=${PROGRAM:-}
if [ -z "$program" ]; then
  features=cuda${FLASH:+,flash-attn}
  if ! command -v nvcc >/dev/null; then
    toolkit target/cuda-check/toolkit
    export LD_LIBRARY_PATH=$cuda_home/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  fi
  echo "==> building with --features $features"
  cargo build --release --locked --features "$features" || die "the build failed"
  program=${CARGO_TARGET_DIR:-target}/release/omnidocs
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -z "$document" ]; then
  document=$scratch/pages.pdf
  python3 - "$document" <<'PYTHON'
import random
import sys

random.seed(1)
syllables = "ba con de fi gra lo men nu pre ri sta tu ver".split()
word = lambda: "".join(random.choices(syllables, k=random.randint(1, 4)))
objects, pages = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"], []
for _ in range(3):
    lines = " ".join(f"({' '.join(word() for _ in range(12))}) '" for _ in range(44))
    text = f"BT /F 11 Tf 16 TL 60 760 Td {lines} ET"
    pages.append(len(objects) + 1)
    objects.append(
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {pages[-1] + 1} 0 R"
        " /Resources << /Font << /F 3 0 R >> >> >>"
    )
    objects.append(f"<< /Length {len(text)} >>\nstream\n{text}\nendstream")
kids = " ".join(f"{page} 0 R" for page in pages)
objects[1] = f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>"
pdf, places = "%PDF-1.4\n", []
for number, content in enumerate(objects, 1):
    places.append(len(pdf))
    pdf += f"{number} 0 obj\n{content}\nendobj\n"
table = "".join(f"{place:010} 00000 n \n" for place in places)
pdf += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
pdf += f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{pdf.index('xref')}\n%%EOF\n"
open(sys.argv[1], "w").write(pdf)
PYTHON
fi

echo "==> reading on $name"
unset "${!OMNIDOCS_@}"
dtype=${DTYPE:-bf16}
"$program" extract "$document" -v --model "$weights" --device "$device" --dtype "$dtype" \
  --max-pixels 1048576 --max-new-tokens "${TOKENS:-256}" --draft off --retries 0 \
  >"$scratch/records.jsonl" 2>"$scratch/log" || {
  cat "$scratch/log" >&2
  die "the run failed"
}

python3 - "$weights" "$scratch" "$dtype" "$bandwidth" "$name" <<'PYTHON'
import json
import math
import pathlib
import re
import statistics
import struct
import sys

weights, scratch, dtype, bandwidth, name = sys.argv[1:]
scratch, bandwidth = pathlib.Path(scratch), float(bandwidth)
records = [json.loads(line) for line in (scratch / "records.jsonl").open()]
ok = [record for record in records if record["status"] == "ok"][1:]
long = [record for record in ok if record["forward_passes"] > 16]
if not long:
    sys.exit("cuda: no page but the first has an answer of 16 tokens or more; give a document of two full pages or more")
log = (scratch / "log").read_text()
loading = re.search(r"([^:,]*) loading the model", log)

# What is read for each token: the decoder's layers, and the head, or the embeddings where they are the head too.
sizes = {}
for file in pathlib.Path(weights).glob("*.safetensors"):
    with file.open("rb") as content:
        header = json.loads(content.read(struct.unpack("<Q", content.read(8))[0]))
    sizes.update((tensor, math.prod(info["shape"])) for tensor, info in header.items() if tensor != "__metadata__")
untied = "lm_head.weight" in sizes
read = sum(
    size
    for tensor, size in sizes.items()
    if tensor.startswith(("model.language_model.", "lm_head.")) and not (untied and "embed_tokens" in tensor)
)
bits = {"bf16": 16, "f16": 16, "f32": 32, "q8_0": 34 / 32 * 8, "q4_k": 144 / 256 * 8}[dtype]
gigabytes = read * bits / 8 / 1e9
limit = bandwidth / gigabytes

prefill = statistics.median(record["timings_ms"]["prefill"] for record in ok)
# The first run of the decoder is part of prefill; without guesses, each of the others is one token.
decode = statistics.median((record["forward_passes"] - 1) / record["timings_ms"]["decode"] * 1000 for record in long)
prompt = statistics.median(record["prompt_tokens"] for record in ok)
width, height = ok[0]["width"], ok[0]["height"]
print(f"{name}, {dtype}, {width}×{height} pixels, {prompt:.0f} tokens of prompt; medians of {len(ok)} pages")
print(f"load     {loading[1].strip() if loading else 'not told'}, {sum(sizes.values()) * bits / 8 / 1e9:.1f} GB")
print(f"prefill  {prefill:.0f} ms, vision included")
print(f"decode   {decode:.1f} tokens/s; {gigabytes:.2f} GB a token at {bandwidth:.0f} GB/s allow {limit:.0f}: {decode / limit:.0%}")
PYTHON
