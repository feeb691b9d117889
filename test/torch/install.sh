#!/bin/sh
# Makes the Python environment that judges midus with PyTorch, or finds the one already there.
#
#   python=$(sh test/torch/install.sh | tail -n 1)
#
# The last line printed is the python to use. The environment lies at $MIDUS_TORCH_VENV, by default
# build/torch-venv under the repository root. The first call takes minutes (PyTorch is large), later
# ones a second or two. When the Python package index does not answer, Debian's python3-torch serves
# instead (older, and without safetensors, tokenizers, transformers and peft, which only a few checks need; they say so and skip).
set -eu

repository=$(cd "$(dirname "$0")/../.." && pwd)
venv=${MIDUS_TORCH_VENV:-$repository/build/torch-venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
python=$venv/bin/python3

usable() {  # usable PYTHON: can it run the reference?
    [ -x "$1" ] && "$1" -c 'import numpy, torch' >/dev/null 2>&1
}

as_root_install() {  # as_root_install PACKAGE: by apt, where we may
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "install.sh: needs the Debian package $1 and cannot install it (not root?)" >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "$1" >&2 ||
        { apt-get update >&2 && apt-get install -y --no-install-recommends "$1" >&2; }
}

from_package_index() {
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        as_root_install python3-venv || return 1
    fi
    python3 -m venv --clear "$venv" >&2 || return 1
    "$python" -m pip install --quiet --no-cache-dir torch numpy safetensors tokenizers transformers peft >&2
}

from_debian() {
    as_root_install python3-torch || return 1
    as_root_install python3-venv || return 1
    /usr/bin/python3 -m venv --clear --system-site-packages "$venv" >&2
}

if ! usable "$python"; then
    mkdir -p "$(dirname "$venv")"
    # One at a time: a second caller waits for the first instead of clearing what it is filling.
    exec 9>"$venv.lock"
    if command -v flock >/dev/null; then flock 9; fi
    if ! usable "$python"; then
        echo "install.sh: making $venv (minutes)" >&2
        if ! from_package_index || ! usable "$python"; then
            echo "install.sh: the Python package index gave no usable PyTorch; trying Debian's" >&2
            from_debian || true
        fi
        if ! usable "$python"; then
            echo "install.sh: no usable PyTorch in $venv" >&2
            exit 1
        fi
    fi
fi
if ! "$python" -c 'import tokenizers, transformers, peft' >/dev/null 2>&1; then  # an environment of before, or Debian's PyTorch
    "$python" -m pip install --quiet --no-cache-dir tokenizers transformers peft >&2 ||
        echo "install.sh: goes on without tokenizers, transformers and peft" >&2
fi
echo "$python"
