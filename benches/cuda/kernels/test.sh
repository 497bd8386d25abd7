#!/usr/bin/env bash
# Holds the program's CUDA kernels to double precision on a CPU: benches/cuda/kernels/test.sh FOLDER
#
# They are compiled with g++ for each number type; shim.h is what they have of the device. Wants g++ 12 or later.
set -euo pipefail
folder=$1
cd "$(dirname "$0")/../../.."
mkdir -p "$folder"
for number in float __half __nv_bfloat16; do
  echo "==> testing the kernels for $number"
  g++ -std=c++20 -O2 -w -DNUMBER=$number -Ibenches/cuda/kernels -Isrc/nn/cuda/kernels benches/cuda/kernels/test.cpp \
    -o "$folder/test-$number"
  "$folder/test-$number"
done
