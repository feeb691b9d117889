#!/usr/bin/env bash
# Makes the files of a new op, which compile, pass their tests, and hold a formula to replace: y = x ⊙ x.
#
#   bash scripts/new_op.sh NAME      such as layer_norm; then edit what it names (docs/adding_an_op.md)
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
esac
name=${1:-}
if [ $# -ne 1 ] || ! [[ $name =~ ^[a-z][a-z0-9]*(_[a-z0-9]+)*$ ]]; then
  echo "scripts/new_op.sh: expected one name such as layer_norm, found \"$*\"" >&2
  exit 1
fi
type=$(sed -E 's/(^|_)([a-z0-9])/\u\2/g' <<< "$name")
files=("include/midus/ops/$name.hpp" "include/midus/ops/${name}_cpu.hpp" "test/reference/$name.hpp" "test/ops/${name}_test.cpp")
for file in "${files[@]}"; do
  if [ -e "$file" ]; then echo "scripts/new_op.sh: $file exists already" >&2; exit 1; fi
done
command -v clang-format > /dev/null || { echo "scripts/new_op.sh: needs clang-format" >&2; exit 1; }

cat > "${files[0]}" << END
// The square of each element, and its backward. (A formula to replace, with its source.)
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// y = x ⊙ x.
template <class S>
struct $type {
  View<const S, 2> x;  // [R,d]
  View<S, 2> y;        // [R,d] overwritten
};

/// dx = 2 x ⊙ dy.
template <class S>
struct ${type}Backward {
  View<const S, 2> x;   // [R,d]
  View<const S, 2> dy;  // [R,d]
  View<S, 2> dx;        // [R,d] overwritten
};

}  // namespace midus
END

cat > "${files[1]}" << END
// Cpu forms of ops/$name.hpp.
#pragma once

#include <algorithm>

#include "midus/device/cpu.hpp"
#include "midus/device/simd.hpp"
#include "midus/ops/$name.hpp"

namespace midus {

inline constexpr Index ${name}_tile = 1 << 13;  // never a function of the number of threads

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const $type<S>& op) {
  const Index size = op.y.size();
  device.parallel_for((size + ${name}_tile - 1) / ${name}_tile, [&](Index task, Arena&) {
    const Index first = task * ${name}_tile;
    const S* const x = op.x.data() + first;
    S* const y = op.y.data() + first;
    simd::for_packets<S>(std::min(${name}_tile, size - first), [&](auto at) {
      const auto value = at.load(x);
      at.store(y, value * value);
    });
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ${type}Backward<S>& op) {
  const Index size = op.dx.size();
  device.parallel_for((size + ${name}_tile - 1) / ${name}_tile, [&](Index task, Arena&) {
    const Index first = task * ${name}_tile;
    const S *const x = op.x.data() + first, *const dy = op.dy.data() + first;
    S* const dx = op.dx.data() + first;
    const auto two = simd::broadcast(S(2));
    simd::for_packets<S>(std::min(${name}_tile, size - first),
                         [&](auto at) { at.store(dx, two * at.load(x) * at.load(dy)); });
  });
}

}  // namespace midus
END

cat > "${files[2]}" << END
#pragma once

#include "midus/ops/$name.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const $type<S>& op) {
  device.work([&] {
    for (Index r = 0; r < op.y.extent(0); ++r)
      for (Index c = 0; c < op.y.extent(1); ++c) op.y(r, c) = op.x(r, c) * op.x(r, c);
  });
}

template <class S>
void run(Reference<S>& device, const ${type}Backward<S>& op) {
  device.work([&] {
    for (Index r = 0; r < op.dx.extent(0); ++r)
      for (Index c = 0; c < op.dx.extent(1); ++c) op.dx(r, c) = S(2) * op.x(r, c) * op.dy(r, c);
  });
}

}  // namespace midus
END

cat > "${files[3]}" << END
#include "midus/ops/${name}_cpu.hpp"

#include "reference/$name.hpp"
#include "support/devices.hpp"
#include "support/gradient_check.hpp"
#include "support/op_checks.hpp"

namespace midus {
namespace {

struct ${type}Case {
  Index R, d;

  template <class D>
  void operator()(Tensors<D>& t) const {
    using S = typename D::Scalar;
    const auto x = t.random("x", Shape{R, d}), dy = t.random("dy", Shape{R, d});
    const auto y = t.output(Shape{R, d}), dx = t.output(Shape{R, d});
    run(t.device, $type<S>{.x = x, .y = y});
    t.keep("y", y);
    run(t.device, ${type}Backward<S>{.x = x, .dy = dy, .dx = dx});
    t.keep("dx", dx);
  }
};

TEST_CASE("$name: the reference's backward is the derivative of its forward") {
  check_complex_step(${type}Case{3, 5}, {{"x", "dx", ""}}, {{"y", "dy"}});
}

TEMPLATE_LIST_TEST_CASE("$name: forward and backward", "", Devices) {
  const auto shape = GENERATE(${type}Case{1, 1}, ${type}Case{1, 31}, ${type}Case{40, 205}, ${type}Case{3, 8193},
                              ${type}Case{0, 7});
  INFO("R " << shape.R << " d " << shape.d);
  check_op<TestType>(shape);
}

}  // namespace
}  // namespace midus
END

# The umbrellas keep their lines in order; clang-format sorts them.
sed -i "0,/#include \"midus\/ops\//s//#include \"midus\/ops\/${name}_cpu.hpp\"\n&/" include/midus/midus.hpp
sed -i "0,/#include \"reference\//s//#include \"reference\/$name.hpp\"\n&/" test/reference/reference.hpp
sed -i "s/^  f(AdamwStep, S)/  f($type, S) f(${type}Backward, S) f(AdamwStep, S)/" test/support/shared_ops.hpp
clang-format -i "${files[@]}" include/midus/midus.hpp test/reference/reference.hpp test/support/shared_ops.hpp
printf 'made    %s\n' "${files[@]}"
printf 'changed %s\n' include/midus/midus.hpp test/reference/reference.hpp test/support/shared_ops.hpp
echo "next: cmake --build --preset debug --target test_ops_$name"
