#!/usr/bin/env bash
# Makes a Python environment that has other packages than the one of install.sh, but its PyTorch, or finds it.
#
#   python=$(bash test/torch/venv_beside.sh FOLDER PACKAGE... | tail -n 1)
#
# PACKAGEs are pip's requirements. The last line printed is the python to use. What PACKAGEs need and the other
# environment has, in a version that they accept, is not installed again.
set -euo pipefail
venv=$1
shift
torch_python=$(sh "$(dirname "${BASH_SOURCE[0]}")/install.sh" | tail -n 1)
mkdir -p "$venv"
venv=$(cd "$venv" && pwd)
done_mark=$venv/.made_of
wanted="$torch_python $*"
if [ "$(cat "$done_mark" 2>/dev/null)" != "$wanted" ]; then
    echo "venv_beside.sh: making $venv (a minute)" >&2
    "$torch_python" -m venv --clear "$venv" >&2
    # Searched after the environment's own folder, so that its packages come first.
    "$torch_python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])' \
        >"$("$venv/bin/python3" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/torch.pth"
    "$venv/bin/python3" -m pip install --quiet --no-cache-dir "$@" >&2
    printf '%s\n' "$wanted" >"$done_mark"
fi
echo "$venv/bin/python3"
