#!/usr/bin/env bash
# What the unit that includes midus has chosen for itself: it holds, or a sentence says what is in the way.
#
#   bash test/including_unit_test.sh COMPILER [OPTION]...      such as -I/usr/include/eigen3
set -euo pipefail
cd "$(dirname "$0")/../include"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "test/including_unit_test.sh: $*" >&2; exit 1; }
compile() { "$@" -std=c++20 -I. -x c++ -fsyntax-only -; }

# Macros of midus' own begin with its name, but for PCRE2's width, where nobody has set it, and one that is taken back.
others=$(grep -rn '^ *# *define' midus | grep -v 'define MIDUS_' |
  grep -v -e 'pcre2_code.hpp:.*PCRE2_CODE_UNIT_WIDTH 8' -e 'blas.hpp:.*bfloat16 openblas_bfloat16' || true)
[ -z "$others" ] || fail "these macros are not midus' to set: $others"

# Other widths of PCRE2 in the same unit, and nlohmann-json without implicit conversions, in the headers and in a program.
for width in 0 8 16; do
  printf '#include "midus/text/regex.hpp"\n' | compile "$@" -DPCRE2_CODE_UNIT_WIDTH=$width ||
    fail "does not compile with PCRE2_CODE_UNIT_WIDTH=$width"
done
printf '#include "midus/midus.hpp"\n#include "midus/hf.hpp"\n#include "midus/tokenizer.hpp"\n#include "../examples/prepare.cpp"\n' |
  compile "$@" -DJSON_USE_IMPLICIT_CONVERSIONS=0 || fail "does not compile without implicit conversions of JSON"

refused() {  # refused SENTENCE OPTION...: a unit with this option is refused with the sentence
  local sentence=$1 output
  shift
  if output=$(printf '#include "midus/core/error.hpp"\n' | compile "${compiler[@]}" "$@" 2>&1); then fail "compiles with $*"; fi
  grep -qF "$sentence" <<< "$output" || { echo "$output"; fail "with $* the sentence is missing: $sentence"; }
}
compiler=("$@")
# g++'s library takes min and max away by itself; where they stay they are named.
printf '#include <string>\n#undef min\n#define min(a, b) a\n#include "midus/core/error.hpp"\n' > "$work/unit.cpp"
refused 'a macro min or max is in the way' -include "$work/unit.cpp"
for name in fail check text; do refused 'a macro fail, check or text is in the way' "-D$name(x)=x"; done
for option in -ffast-math -Ofast -ffinite-math-only; do refused 'compile without -ffast-math' $option; done
echo "what the including unit has chosen holds, or is named"
