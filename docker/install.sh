#!/bin/sh
# Install the lock: sh install.sh PIP LOCK DEVICE [CPU_INDEX]
# With DEVICE=cpu and CPU_INDEX, torch and torchvision come from that index in the locked versions, and what only CUDA
# needs is left out. PIP may be `echo`, which shows what would be done.
set -eu
pip=$1 lock=$2 device=$3 index=${4:-}
$pip install -q $(grep -E '^(setuptools|wheel)==' "$lock")
if [ "$device" = cpu ] && [ -n "$index" ]; then
    lean=$(mktemp)
    grep -vE '^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==' "$lock" > "$lean"
    $pip install -q --no-deps --index-url "$index" $(grep -E '^(torch|torchvision)==' "$lock")
    $pip install -q --no-deps --no-build-isolation -r "$lean"
    rm "$lean"
else
    $pip install -q --no-deps --no-build-isolation -r "$lock"
fi
