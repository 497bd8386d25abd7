#!/usr/bin/env bash
# Builds for CUDA on a machine without a GPU, and fills .cuda with what a machine with one needs besides this checkout:
#
#     benches/cuda/prepare.sh [FOLDER]
#
# NVIDIA's compiler and libraries come from PyPI into FOLDER (default target/cuda-check, as for check-cuda.sh), 3 GB with the
# build; a second run finds them there. CUDA_COMPUTE_CAP is the card to compile for (90: H100 and H200). FLASH=1 adds
# flash-attention, and two and a half hours of one core. The check program is omnidocs as well: one binary is carried, of about
# 16 MB compressed. README.md says how to run it there.
set -euo pipefail
cd "$(dirname "$0")/../.."
. benches/cuda/toolkit.sh

folder=${1:-target/cuda-check}
toolkit "$folder/toolkit"
folder=$(cd "$folder" && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$folder/build}
build_check ${FLASH:+--features flash-attn}

mkdir -p .cuda
strip -o "$folder/check" "$program"
xz -T0 -2 -c "$folder/check" >.cuda/check.xz
cp benches/cuda/{device.sh,make_weights.py,peer.py} .cuda/
du -h .cuda/*
