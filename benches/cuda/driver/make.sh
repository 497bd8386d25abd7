#!/usr/bin/env bash
# Makes the counting driver for a program that was built for CUDA:
#
#     benches/cuda/driver/make.sh PROGRAM FOLDER
#
# FOLDER then has libcuda.so.1 and the libraries of CUDA 13 beside it; with it as LD_LIBRARY_PATH the program finds a device.
# driver.c says what it takes from the environment. Wants cc and nm.
set -euo pipefail
program=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
cd "$folder"
cc -O1 -fPIC -w -c "$here/driver.c" -o driver.o
nm -D --undefined-only "$program" | awk '{ print $2 }' | sed 's/@.*//' |
  grep -E '^(cu[A-Z]|cublas|curand|cuda[A-Z]|__cuda|nvrtc)' | sort -u >wanted
nm --defined-only driver.o | awk '{ print $3 }' | sort -u >made
{
  while read -r name; do
    if [ "$name" = __cudaRegisterFatBinary ]; then
      echo "static void *handle; void **$name(void) { return &handle; }"
    else
      echo "int $name(void) { return 0; }"
    fi
  done < <(comm -23 wanted made)
} >rest.c
cc -shared -fPIC -w -O1 -o libcounting.so driver.o rest.c -lpthread -Wl,-soname,libcounting.so
for library in libcuda.so.1 libcublas.so.13 libcublasLt.so.13 libcurand.so.10 libcudart.so.13 libnvrtc.so.13; do
  echo | cc -shared -fPIC -x c - -o "$library" -Wl,-soname,"$library" -Wl,--no-as-needed -L. -lcounting \
    -Wl,-rpath,'$ORIGIN'
done
