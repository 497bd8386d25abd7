# Sourced by the scripts here: NVIDIA's compiler and libraries, on a machine that need not have a GPU.
#
#     toolkit FOLDER     fetches them from PyPI into FOLDER, unless they are there; sets $cuda_home, $cuda_stub, and what Cargo wants
#
# 1.2 GB. Wants cc and python3 with pip, on Linux. CUDA_COMPUTE_CAP is the card to compile for (90: H100).

# One release of CUDA: all of them must fit each other.
cuda_packages=(
  nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35
)

die() {
  echo "$(basename "$0" .sh): $*" >&2
  exit 1
}

toolkit() {
  local folder=$1 tool name
  for tool in cargo cc python3; do
    command -v "$tool" >/dev/null || die "$tool is needed, and is not on the PATH"
  done
  [ "$(uname)" = Linux ] || die "NVIDIA's packages are for Linux"
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  # The packages share one folder, laid out as the toolkit but for the plain names of the libraries.
  cuda_home=$folder/python/nvidia/cu13
  if [ "$(cat "$folder/packages" 2>/dev/null)" != "${cuda_packages[*]}" ]; then
    echo "==> fetching NVIDIA's compiler and libraries into $folder"
    rm -rf "$folder/python"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
      --only-binary :all: --target "$folder/python" "${cuda_packages[@]}" ||
      die "pip could not fetch them; is this machine connected, and does pip have them for it?"
    for name in cudart cublas cublasLt curand nvrtc; do
      ln -sf "$(cd "$cuda_home/lib" && echo lib$name.so.*)" "$cuda_home/lib/lib$name.so"
    done
    ln -sfn lib "$cuda_home/lib64"
    echo "${cuda_packages[*]}" >"$folder/packages"
  fi
  # A driver to link with, and to start with where there is none: it has every function that the toolkit's header names, and
  # answers each call with 100, CUDA_ERROR_NO_DEVICE.
  cuda_stub=$folder/stub
  if [ ! -e "$cuda_stub/libcuda.so.1" ]; then
    mkdir -p "$cuda_stub"
    grep -oE '\bcu[A-Z][A-Za-z0-9]*(_v[0-9]+)?\b' "$cuda_home/include/cuda.h" | sort -u |
      sed 's/.*/int &(void) { return 100; }/' >"$cuda_stub/stub.c"
    cc -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$cuda_stub/libcuda.so.1" "$cuda_stub/stub.c"
    ln -sf libcuda.so.1 "$cuda_stub/libcuda.so"
  fi
  threads=$(nproc)
  export CUDA_HOME=$cuda_home CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} CUDAFORGE_THREADS=$threads
  export PATH=$cuda_home/bin:$PATH LIBRARY_PATH=$cuda_home/lib:$cuda_stub
}

# Builds the check program for CUDA with Cargo's further arguments, and sets $program to where it is.
build_check() {
  echo "==> building the check program with --features cuda, for compute capability $CUDA_COMPUTE_CAP"
  local messages
  messages=$(cargo build --release --locked --features cuda --bench cuda --message-format=json-render-diagnostics "$@") ||
    die "the build failed"
  program=$(python3 -c '
import json, sys
made = [json.loads(line) for line in sys.stdin if line.startswith("{")]
print([m["executable"] for m in made if m.get("executable") and m["target"]["name"] == "cuda"][-1])' <<<"$messages")
}
