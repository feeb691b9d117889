#!/usr/bin/env bash
# Builds midus' programs for the model in a directory: its shape becomes a type.
#
#   bash examples/build_for.sh DIRECTORY [--into FOLDER] [--value-policy HEADER]...
#
# DIRECTORY is a checkpoint, or holds only a config.json. The programs are pretrain, cpt, evaluate, sample,
# score, logits, slot_use and head_ablation. They come to lie in FOLDER, by default build/programs/SHAPE in the
# repository (where that may not be written: below ~/.cache/midus; MIDUS_PROGRAMS names another folder than
# build/programs), which all checkpoints of one shape share; the last line printed is that folder:
#
#   programs=$(bash examples/build_for.sh llama | tail -n 1)
#   "$programs/evaluate" llama --data test=test.bin
#
# HEADER is one of a value policy that is not midus' own (docs/adding_a_value_policy.md); MIDUS_VALUE_POLICIES names such
# headers too, with colons between them.
#
# What is up to date is not built again. The compiler is CXX (default: c++), the kind of build MIDUS_BUILD_TYPE
# (Release, or Debug for assertions); ccache and Ninja are used where they are installed. Several calls may run at once.
set -euo pipefail

fail() {
    echo "build_for.sh: $*" >&2
    exit 1
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
directory='' into='' policies=${MIDUS_VALUE_POLICIES:-}
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            sed -n '2,/^set/{/^#/!d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --into)
            [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value; see --help"
            into=$2
            shift
            ;;
        --value-policy)
            [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value; see --help"
            policies+=${policies:+:}$2
            shift
            ;;
        -*) fail "unknown option $1; see --help" ;;
        *)
            [ -z "$directory" ] || fail "one directory at a time, found $directory and $1"
            directory=$1
            ;;
    esac
    shift
done
[ -n "$directory" ] || fail "give the directory of a model; see --help"
[ -d "$directory" ] || fail "there is no directory $directory; a hub's model is fetched first: hf download NAME --local-dir DIRECTORY"
[ -f "$directory/config.json" ] || fail "$directory holds no config.json"
headers=''
while [ -n "$policies" ]; do
    header=${policies%%:*} policies=${policies#"${policies%%:*}"} policies=${policies#:}
    [ -f "$header" ] || fail "there is no header $header"
    headers+=${headers:+;}$(cd "$(dirname "$header")" && pwd)/$(basename "$header")
done
command -v cmake >/dev/null || fail "cmake is needed: install cmake (3.22 or newer)"
compiler=${CXX:-c++}
command -v "${compiler%% *}" >/dev/null || fail "there is no compiler $compiler: install g++, or set CXX"

# A repository that is shared may not be written to: then the builds lie in the user's cache, apart for each repository.
root=${MIDUS_PROGRAMS:-$repository/build/programs}
if [ -z "${MIDUS_PROGRAMS:-}" ] && ! { mkdir -p "$root" && [ -w "$root" ]; } 2>/dev/null; then
    root=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/midus/$(printf '%s' "$repository" | cksum | cut -d ' ' -f 1)
fi
mkdir -p "$root/.build" 2>/dev/null && [ -w "$root/.build" ] ||
    fail "cannot write to $root; MIDUS_PROGRAMS names another folder for what is built"
root=$(cd "$root" && pwd)  # CMake goes on from another folder
type=${MIDUS_BUILD_TYPE:-Release}
case $type in Release | Debug) ;; *) fail "MIDUS_BUILD_TYPE must be Release or Debug, found $type" ;; esac
compiler_key=$(printf '%s' "$compiler" | tr -c 'A-Za-z0-9+._-' '_')
suffix=''
if [ "$type" = Debug ]; then suffix=-debug compiler_key+=-debug; fi
if [ -n "$headers" ]; then compiler_key+=-$(printf '%s' "$headers" | cksum | cut -d ' ' -f 1); fi

lock() {  # lock NAME: waits for other calls that build the same thing
    if command -v flock >/dev/null; then
        exec 9>"$root/.build/$1.lock"
        flock 9
    fi
}
unlock() { exec 9>&-; }

quietly() {  # its output only where it fails
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

options=(-DCMAKE_BUILD_TYPE="$type" -DMIDUS_TESTS=OFF -DMIDUS_EXAMPLES=ON -DMIDUS_INSTALL=OFF "-DCMAKE_CXX_COMPILER=${compiler%% *}")
if [ -n "$headers" ]; then options+=("-DMIDUS_VALUE_POLICIES=$headers"); fi
case $compiler in *' '*) options+=("-DCMAKE_CXX_FLAGS=${compiler#* }") ;; esac
if command -v ninja >/dev/null; then options+=(-G Ninja); else options+=(-G 'Unix Makefiles'); fi
if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi

# The generator knows a config.json's shape, and so the folder: it comes first, once for all shapes.
lock generator
tools=$root/.build/generator-$compiler_key
generator=$tools/examples/model_header
if [ ! -f "$tools/build.ninja" ] && [ ! -f "$tools/Makefile" ]; then
    quietly cmake -S "$repository" -B "$tools" "${options[@]}" || fail "cannot configure midus"
fi
quietly cmake --build "$tools" --target model_header || fail "cannot build model_header"
unlock
shape=$("$generator" "$directory" --key 2>&1) || fail "${shape#model_header: }"

# The build has a configuration of its own, and so does not depend on which of a shape's checkpoints it was.
lock "$shape"
build=$root/.build/$shape-$compiler_key
mkdir -p "$build"
if [ ! -f "$build/build.ninja" ] && [ ! -f "$build/Makefile" ]; then
    cp "$directory/config.json" "$build/config.json"
    echo "configuring for $shape" >&2
    quietly cmake -S "$repository" -B "$build" "${options[@]}" "-DMIDUS_MODEL=$build/config.json" \
        "-DMIDUS_MODEL_HEADER=$generator" || fail "cannot configure the programs for $directory"
fi
echo "building the programs for $shape" >&2
cmake --build "$build" --target model_programs >&2 || fail "the build failed"

folder=${into:-$root/$shape$suffix}
mkdir -p "$folder"
for program in pretrain cpt evaluate sample score logits slot_use head_ablation; do
    # Another name first: a program that is running keeps its file.
    if ! cmp -s "$build/programs/$program" "$folder/$program"; then
        new=$(mktemp "$folder/.$program.XXXXXX")
        cp "$build/programs/$program" "$new"
        chmod "$(printf '%o' $((0777 & ~$(umask))))" "$new"
        mv -f "$new" "$folder/$program"
    fi
done
cd "$folder" && pwd
