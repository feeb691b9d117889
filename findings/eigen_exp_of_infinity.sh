#!/usr/bin/env bash
# Eigen 3.4.0 in vector registers, built for SSE2 or AVX2: exp(-inf) is 2.9e-39 and not 0, and so is exp(-100); sqrt(inf) is NaN,
# and sqrt(1e-40) is 0. Elements at an array's end that fill no register get the standard library's values, so the answer depends
# on an element's place.
#
# Input: an array of nine floats of one number; the first lies in a register, the last behind the last full one.
# Seen: first and last of each, as `expected` says. Needs g++ and Eigen 3.4.0 (Debian 12: libeigen3-dev), and AVX2 to run the
# second half.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
include=${EIGEN_INCLUDE:-/usr/include/eigen3}
version=$(sed -n 's/^#define EIGEN_\(WORLD\|MAJOR\|MINOR\)_VERSION //p' "$include/Eigen/src/Core/util/Macros.h" | tr '\n' .)
[ "$version" = 3.4.0. ] || {
    echo "needs Eigen 3.4.0 in $include (Debian 12: libeigen3-dev)" >&2
    exit 2
}
cat >"$work/try.cpp" <<'CPP'
#include <Eigen/Core>
#include <iomanip>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>
int main() {
  const float inf = std::numeric_limits<float>::infinity();
  const auto text = [](float x) { return x != x ? std::string("nan") : (std::ostringstream() << std::setprecision(3) << x).str(); };
  const auto show = [&](const char* name, auto&& f, float x) {
    const Eigen::ArrayXf in = Eigen::ArrayXf::Constant(9, x), out = f(in);
    std::cout << name << "(" << text(x) << "): " << text(out(0)) << ", at the end " << text(out(8)) << "\n";
  };
  const auto exp = [](const Eigen::ArrayXf& a) { return Eigen::ArrayXf(a.exp()); };
  const auto sqrt = [](const Eigen::ArrayXf& a) { return Eigen::ArrayXf(a.sqrt()); };
  show("exp", exp, -inf), show("exp", exp, -100), show("sqrt", sqrt, inf), show("sqrt", sqrt, 1e-40f);
}
CPP
expected="-msse2
exp(-inf): 2.94e-39, at the end 0
exp(-100): 2.94e-39, at the end 3.78e-44
sqrt(inf): nan, at the end inf
sqrt(1e-40): 0, at the end 1e-20
-mavx2 -mfma
exp(-inf): 2.94e-39, at the end 0
exp(-100): 2.94e-39, at the end 3.78e-44
sqrt(inf): nan, at the end inf
sqrt(1e-40): 0, at the end 1e-20"
found=
for flags in -msse2 '-mavx2 -mfma'; do
    # shellcheck disable=SC2086
    g++ -std=c++17 -O2 $flags -I"$include" "$work/try.cpp" -o "$work/try" || exit 2
    found+="${found:+$'\n'}$flags"$'\n'"$("$work/try")"
done
verdict "$found" "$expected"
