#!/usr/bin/env bash
# From a fresh Debian 12 to a table, pictures and a report: installs what is missing, builds midus for this
# machine's processor, pre-trains a small base on WordNet's glosses, up-scales it in several ways, continues
# the pre-training of each on the King James Bible and compares them.
#
#     bash examples/quickstart.sh [--out DIRECTORY] [--minutes N] [--seeds N] [--frontier] [--tune]
#
# Interrupted, the same command goes on where it was. `--help` explains the options.
set -euo pipefail
cd "$(dirname "$0")/.."

# What apt has to bring: only what is not there already.
packages=(g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libcli11-dev libpcre2-dev
          gnuplot-nox wordnet-base bible-kjv bible-kjv-text python3)
missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "installing: ${missing[*]}"
  sudo=()
  if ((EUID != 0)); then sudo=(sudo); fi
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
fi

# The programs that know no model's shape; the driver builds the others for each model.
tools=$(bash examples/build_tools.sh | tail -n 1)

PATH="$tools:$PATH" exec python3 -B examples/quickstart/quickstart.py "$@"
