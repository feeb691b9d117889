#!/bin/sh
# A mistake in a model's type is refused with a sentence of midus' own, and nothing but that mistake is.
#
#   check.sh FILE COMPILER [FLAG...]
#
# FILE's first line is "// expected: SENTENCE". FILE must not compile, and the first error must be the static_assert
# with that sentence; with -DMIDUS_FIXED it must compile.
set -eu
file=$1
shift
sentence=$(sed -n '1s|^// expected: ||p' "$file")
[ -n "$sentence" ] || { echo "$file: the first line is not // expected: SENTENCE"; exit 1; }

"$@" -fsyntax-only -DMIDUS_FIXED "$file" || { echo "$file: does not compile with -DMIDUS_FIXED"; exit 1; }
if diagnostic=$("$@" -fsyntax-only "$file" 2>&1); then
    echo "$file: compiles, and should not"
    exit 1
fi
printf '%s\n' "$diagnostic" | grep 'error:' | head -n 1 | grep -i 'static.assert' | grep -qF "$sentence" || {
    printf '%s\n' "$diagnostic"
    echo "$file: the first error should be: $sentence"
    exit 1
}
