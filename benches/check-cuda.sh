#!/usr/bin/env bash
# Builds the program for CUDA on a machine without a GPU, and checks what it does where there is no device.
#
#     benches/check-cuda.sh [FOLDER]
#
# NVIDIA's compiler and libraries come from PyPI into FOLDER (default target/cuda-check), 3 GB with the build; a second run
# finds them there. A driver is made up that answers "no device" to every call: with it the program must read pages on the
# CPU, and must say what is wrong when it is asked for a device. CUDA_COMPUTE_CAP is the card to compile for (90: H100).
# Wants a Rust toolchain, cc, and python3 with pip, on Linux.
set -euo pipefail
cd "$(dirname "$0")/.."

# One release of CUDA: all of them must fit each other.
packages=(
  nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35
)

die() {
  echo "check-cuda: $*" >&2
  exit 1
}

for tool in cargo cc python3; do
  command -v "$tool" >/dev/null || die "$tool is needed, and is not on the PATH"
done
[ "$(uname)" = Linux ] || die "NVIDIA's packages are for Linux"
mkdir -p "${1:-target/cuda-check}"
folder=$(cd "${1:-target/cuda-check}" && pwd)

# The packages share one folder, laid out as the toolkit but for the plain names of the libraries.
home=$folder/python/nvidia/cu13
if [ "$(cat "$folder/packages" 2>/dev/null)" != "${packages[*]}" ]; then
  echo "==> fetching NVIDIA's compiler and libraries into $folder"
  rm -rf "$folder/python"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
    --only-binary :all: --target "$folder/python" "${packages[@]}" ||
    die "pip could not fetch them; is this machine connected, and does pip have them for it?"
  for name in cudart cublas cublasLt curand nvrtc; do
    ln -sf "$(cd "$home/lib" && echo lib$name.so.*)" "$home/lib/lib$name.so"
  done
  ln -sfn lib "$home/lib64"
  echo "${packages[*]}" >"$folder/packages"
fi

# Every function of the driver that the toolkit's header names; 100 is CUDA_ERROR_NO_DEVICE.
driver=$folder/driver
mkdir -p "$driver"
grep -oE '\bcu[A-Z][A-Za-z0-9]*(_v[0-9]+)?\b' "$home/include/cuda.h" | sort -u |
  sed 's/.*/int &(void) { return 100; }/' >"$driver/driver.c"
cc -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$driver/libcuda.so.1" "$driver/driver.c"
ln -sf libcuda.so.1 "$driver/libcuda.so"

threads=$(nproc)
export CUDA_HOME=$home CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} CUDAFORGE_THREADS=$threads
export PATH=$home/bin:$PATH LIBRARY_PATH=$home/lib:$driver CARGO_TARGET_DIR=$folder/build
echo "==> building with --features cuda"
cargo build --release --locked --features cuda || die "the build failed"
echo "==> testing that it knows the driver's errors"
LD_LIBRARY_PATH=$home/lib:$driver cargo test --release --locked --features cuda --lib trouble ||
  die "errors of CUDA are not told apart"

echo "==> starting it without a device"
unset "${!OMNIDOCS_@}"
# Runs it with a device, its output and messages into files of that name; fails unless it ends with this exit code.
extract() {
  local device=$1 code=$2 ended=0
  LD_LIBRARY_PATH=$home/lib:$driver "$folder/build/release/omnidocs" extract examples/pages --model examples/reader \
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
says auto 'no CUDA device can be used, so the CPU is'
[ -s "$folder/cpu.jsonl" ] || die "nothing was read"
[ "$(records auto)" = "$(records cpu)" ] || die "--device auto reads other than --device cpu: see $folder/{auto,cpu}.jsonl"
for device in cuda cuda:1; do
  extract "$device" 1
  says "$device" 'error: --device cuda:' 'there is no NVIDIA GPU that CUDA can see' 'nvidia-smi' '--device cpu'
done
echo "check-cuda: built for compute capability $CUDA_COMPUTE_CAP; without a device, auto reads on the CPU and cuda says why not"
