#!/usr/bin/env bash
# Builds the program for CUDA on a machine without a GPU, and checks what it does where there is no device, and on a driver
# that counts.
#
#     benches/check-cuda.sh [FOLDER]
#
# NVIDIA's compiler and libraries come from PyPI into FOLDER (default target/cuda-check), 3 GB with the build; a second run
# finds them there. With a driver that answers "no device" to every call the program must read pages on the CPU, and must say
# what is wrong when it is asked for a device. The kernels are held to double precision, compiled for a CPU. On the counting driver it must keep to bounds: see benches/cuda/count.sh.
# CUDA_COMPUTE_CAP is the card to compile for (90: H100). Wants a Rust toolchain, cc, g++, nm, and python3 with pip, on Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/cuda/toolkit.sh

folder=${1:-target/cuda-check}
toolkit "$folder/toolkit"
folder=$(cd "$folder" && pwd)
benches/cuda/kernels/test.sh "$folder/kernels"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$folder/build}
build_check
echo "==> testing that it knows the driver's errors"
LD_LIBRARY_PATH=$cuda_home/lib:$cuda_stub cargo test --release --locked --features cuda --lib nn::fault ||
  die "errors of CUDA are not told apart"

echo "==> starting it without a device"
unset "${!OMNIDOCS_@}"
# Runs it with a device, its output and messages into files of that name; fails unless it ends with this exit code.
extract() {
  local device=$1 code=$2 ended=0
  LD_LIBRARY_PATH=$cuda_home/lib:$cuda_stub "$program" extract examples/pages --model examples/reader \
    --device "$device" >"$folder/$device.jsonl" 2>"$folder/$device.log" || ended=$?
  [ "$ended" = "$code" ] ||
    die "--device $device ended with exit code $ended, not $code: $(cat "$folder/$device.log")"
  if grep -q panicked "$folder/$device.log"; then
    die "--device $device panicked: $(cat "$folder/$device.log")"
  fi
}
# Its messages name what is wanted.
says() {
  local device=$1 part
  shift
  for part; do
    grep -qF -e "$part" "$folder/$device.log" ||
      die "--device $device does not say \"$part\": $(cat "$folder/$device.log")"
  done
}
records() {
  sed 's/"timings_ms":{[^}]*}//' "$folder/$1.jsonl"
}

extract cpu 0
extract auto 0
says auto 'no CUDA device is usable, using the CPU'
[ -s "$folder/cpu.jsonl" ] || die "nothing was read"
[ "$(records auto)" = "$(records cpu)" ] || die "--device auto reads other than --device cpu: see $folder/{auto,cpu}.jsonl"
for device in cuda cuda:1; do
  extract "$device" 1
  says "$device" 'error: cannot use --device cuda:' 'CUDA sees no NVIDIA GPU' 'nvidia-smi' '--device cpu'
done
echo "==> counting"
benches/cuda/count.sh "$program" "$folder/counting"
echo "check-cuda: built for compute capability $CUDA_COMPUTE_CAP; without a device, auto reads on the CPU and cuda says why not"
