#!/usr/bin/env bash
# What core/ declares MIDUS_HOST_DEVICE gives the same bits in a kernel as on the host. Ends with 77 where there is no CUDA device.
#
#   bash test/core/host_device_test.sh NVCC
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" -std=c++20 -O2 --Werror all-warnings -I"$source/include" "$source/test/core/host_device.cu" -o "$work/host_device"
"$work/host_device"
