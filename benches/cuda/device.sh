#!/usr/bin/env bash
# Measures on a machine with a GPU, in the checkout's root, with what prepare.sh has put into .cuda:
#
#     PARTS='env parity ops cli 2b' bash .cuda/device.sh     what tells right from wrong, and the 2B shape: about 3 minutes
#     PARTS='8b peers oom' bash .cuda/device.sh              the 8B shape, transformers on the same GPU, too little memory
#
# Each part has its own time limit, and none stops the next. OUT is for what comes of it (/tmp/out), WORK for weights of up to
# 20 GB (/tmp/weights). Wants python3 with PyTorch for CUDA 13, whose libraries are used, transformers and Pillow.
# DEVICE=cpu rehearses the parts that need no GPU; SHAPE=tiny takes small weights for all shapes.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-/tmp/out}
work=${WORK:-/tmp/weights}
device=${DEVICE:-cuda}
side=${SIDE:-1024}
tokens=${TOKENS:-96}
batches=${BATCHES:-1,4,8,16,32}
mkdir -p "$out" "$work"

say() { printf '\n=== %s (%ss)\n' "$*" "$SECONDS"; }
part() {
  case " ${PARTS:-env parity ops cli 2b 8b peers oom} " in
  *" $1 "*) say "$1" ;;
  *) return 1 ;;
  esac
}
# The shapes' weights, made once.
weights() {
  [ -f "$work/$1/config.json" ] ||
    timeout 120 python3 "$here/make_weights.py" "${SHAPE:-$1}" "$work/$1" examples/reader
}

program=$work/check
python3 - "$here/check.xz" "$program" <<'PYTHON'
import lzma, os, sys

with open(sys.argv[2], "wb") as file:
    file.write(lzma.open(sys.argv[1]).read())
os.chmod(sys.argv[2], 0o755)
PYTHON
# The libraries that PyTorch has brought, unless LIBRARIES says where they are.
libraries=${LIBRARIES:-$(
  python3 - <<'PYTHON'
import glob, os, site, sys

folders = [
    lib
    for place in site.getsitepackages() + [place for place in sys.path if place]
    for lib in sorted(glob.glob(os.path.join(place, "nvidia/*/lib")))
    if glob.glob(lib + "/lib*.so.*")
]
folders += [lib for lib in ("/usr/local/cuda/lib64", "/usr/local/nvidia/lib64") if os.path.isdir(lib)]
print(":".join(dict.fromkeys(folders)))
PYTHON
)}
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
unset "${!OMNIDOCS_@}"

if part env; then
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm --format=csv,noheader || true
  nproc
  free -g | head -2
  df -h "$work" | tail -1
  ldd "$program" | grep -E 'cuda|cublas|curand|not found'
  "$program" --version
fi

if part parity; then
  timeout 150 "$program" parity --stride "${STRIDE:-6}" --device "$device" >"$out/parity.txt" 2>&1
  echo "ended with $?: $(grep -c '^ok' "$out/parity.txt") ok"
  grep -v '^ok' "$out/parity.txt" | head -40
  grep -E '^ok +[a-z0-9_]+ (reader|pipelined|[0-9]+ together|drafts)' "$out/parity.txt"
fi

if part ops; then
  timeout 120 "$program" ops --device "$device" >"$out/ops.txt" 2>&1
  echo "ended with $?"
  cat "$out/ops.txt"
fi

if part cli; then
  for on in cpu "$device"; do
    timeout 60 "$program" extract examples/pages --model examples/reader --device "$on" --dtype f32 --progress plain \
      >"$work/$on.jsonl" 2>"$work/$on.log"
    echo "--device $on ended with $?"
    tail -2 "$work/$on.log"
  done
  python3 - "$work/cpu.jsonl" "$work/$device.jsonl" <<'PYTHON'
import json, sys

def contents(path):
    with open(path) as lines:
        records = [json.loads(line) for line in lines]
    return {(record["path"], record["page"]): record["content"] for record in records}

cpu, device = map(contents, sys.argv[1:])
same = sum(content == device.get(page) for page, content in cpu.items())
print("ok  " if same == len(cpu) else "BAD ", f"f32: the same text on {same} of {len(cpu)} pages")
PYTHON
  # Twice each: the same bytes.
  for batch in 1 4; do
    for draft in off auto; do
      for _ in 1 2; do
        timeout 60 "$program" extract examples/pages --model examples/reader --device "$device" --batch-size $batch \
          --draft $draft --quiet 2>/dev/null |
          python3 -c '
import hashlib, json, sys
pages = sorted([record["path"], record["page"] or 0, record["content"] or ""] for record in map(json.loads, sys.stdin))
print(len(pages), "pages", hashlib.sha256(json.dumps(pages).encode()).hexdigest()[:12], end="  ")'
      done
      echo "batch $batch, draft $draft"
    done
  done
fi

for size in 2b 8b; do
  part $size || continue
  weights $size
  # Runs `speed` with these arguments, and keeps what it prints.
  speed() {
    local name=$1
    shift
    timeout 150 "$program" speed "$work/$size" --device "$device" "$@" 2>&1 | tee "$out/speed-$size$name.txt"
  }
  speed "" --width "$side" --height "$side" --tokens "$tokens" --batches "$batches"
  [ $size = 8b ] || speed -2mp --width 1440 --height 1440 --tokens 16
  [ $size = 8b ] || speed -q8_0 --width "$side" --height "$side" --tokens "$tokens" --batches 1,8 --dtype q8_0
done

if part peers; then
  weights 2b
  python3 - "$work/page.png" <<'PYTHON'
import sys
from PIL import Image, ImageDraw

page = Image.new("RGB", (512, 512), "white")
draw = ImageDraw.Draw(page)
for line in range(20):
    draw.rectangle([30, 15 + 24 * line, 100 + (line * 97) % 380, 27 + 24 * line], fill="black")
page.save(sys.argv[1])
PYTHON
  for dtype in bf16 f32; do
    logits=$work/logits-$dtype.safetensors
    timeout 60 "$program" logits "$work/2b" "$work/page.png" "$logits" --dtype $dtype --device "$device" || continue
    echo "omnidocs in $dtype:"
    timeout 90 python3 "$here/peer.py" logits "$work/2b" "$work/page.png" "$logits" 2>&1 | grep '^peer'
  done
  for size in 2b 8b; do
    [ -f "$work/$size/config.json" ] || continue
    timeout 100 python3 "$here/peer.py" speed "$work/$size" "$side" "$side" "$tokens" 1,8 2>&1 |
      grep -E '^peer|Error' | tee -a "$out/peers.txt"
  done
fi

if part oom; then
  weights 2b
  # Another process takes all but FREE GB.
  python3 - "${FREE:-9}" <<'PYTHON' &
import sys, time, torch

free, _ = torch.cuda.mem_get_info()
taken = torch.empty(int(free - float(sys.argv[1]) * 1e9), dtype=torch.uint8, device="cuda")
print("holds", taken.numel() / 1e9, "GB", flush=True)
time.sleep(100)
PYTHON
  holder=$!
  sleep 12
  mkdir -p "$work/pages"
  python3 - "$work/pages" <<'PYTHON'
import sys
from PIL import Image, ImageDraw

for number in range(6):
    page = Image.new("RGB", (1440, 1440), "white")
    draw = ImageDraw.Draw(page)
    for line in range(50):
        draw.rectangle([60, 30 + 27 * line, 200 + (line * 97 + number * 31) % 1100, 44 + 27 * line], fill="black")
    page.save(f"{sys.argv[1]}/page{number}.png")
PYTHON
  timeout 80 "$program" extract "$work/pages" --model "$work/2b" --device "$device" --batch-size 6 --max-new-tokens 4096 \
    --page-timeout 20 --retries 0 --draft off --progress plain -v >"$work/oom.jsonl" 2>"$work/oom.log"
  echo "ended with $?"
  grep -iE 'memory|warn|error' "$work/oom.log" | head
  tail -4 "$work/oom.log"
  python3 - "$work/oom.jsonl" <<'PYTHON'
import json, sys

for record in map(json.loads, open(sys.argv[1])):
    error = record["error"] or {}
    print(record["status"], record["warnings"], error.get("kind"), error.get("message", "")[:100], record["width"])
PYTHON
  kill $holder 2>/dev/null
fi
say done
