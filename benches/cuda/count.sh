#!/usr/bin/env bash
# Runs the CUDA build on the counting driver, and holds what it counts to bounds:
#
#     benches/cuda/count.sh PROGRAM [FOLDER]
#
# PROGRAM is the check program, as check-cuda.sh and prepare.sh build it; FOLDER is for what is made (default
# target/cuda-check/counting). Counted are launches, uploads and copies of a run of the decoder, also for each layer of it; then
# come many pages, a lack of memory and a lost device at points of a page. Wants cc, nm and python3.
set -euo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/../.."
mkdir -p "${2:-target/cuda-check/counting}"
folder=$(cd "${2:-target/cuda-check/counting}" && pwd)
benches/cuda/driver/make.sh "$program" "$folder/driver"
for layers in 2 6; do
  python3 benches/cuda/make_sparse.py tiny "$folder/layers-$layers" examples/reader $layers >/dev/null
done
unset "${!OMNIDOCS_@}"
exec python3 benches/cuda/count.py "$program" "$folder"
