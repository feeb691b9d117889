# What the findings share; sourced by each. Makes a folder that goes away at the end, `$work`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HUB_OFFLINE=1 HF_HOME=$work/hf TRANSFORMERS_VERBOSITY=error

# python_with NAME==VERSION...: prints a python that has exactly these packages: one of those that $FINDINGS_PYTHON names
# (separated by colons) where it has them, else that of a new environment in $work.
python_with() {
    local python have
    have='import importlib.metadata as m, sys
sys.exit(any(m.version(p.split("==")[0].split("[")[0]) != p.split("==")[1] for p in sys.argv[1:]))'
    for python in ${FINDINGS_PYTHON:+$(tr : ' ' <<<"$FINDINGS_PYTHON")}; do
        if "$python" -c "$have" "$@" 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    local venv
    venv=$(mktemp -d -p "$work")
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --no-cache-dir "$@"; } >&2 || {
        echo "could not install $*" >&2
        exit 2
    }
    echo "$venv/bin/python3"
}

# verdict FOUND EXPECTED: says both, and ends with 1 where they differ.
verdict() {
    echo "$1"
    if [ "$1" != "$2" ]; then
        echo "CHANGED. It was:"
        echo "$2"
        exit 1
    fi
    echo "as found"
}
