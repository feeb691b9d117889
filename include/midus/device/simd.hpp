// Vectors of the processor's own width, through Eigen's packets. Included by device/ and ops/*_cpu.hpp only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "midus/core/shape.hpp"
#include "midus/device/eigen.hpp"

// Before a loop of constant length whose arrays are to become registers, at every level of optimisation.
#ifdef __clang__
#define MIDUS_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MIDUS_UNROLL _Pragma("GCC unroll 32")
#endif

namespace midus::simd {

/// As many values of `S` as a register holds: `width<S>`. The operators + - * / work on it.
template <class S>
using Packet = typename Eigen::internal::packet_traits<S>::type;
template <class S>
inline constexpr Index width = Eigen::internal::packet_traits<S>::size;

template <class S>
Packet<S> broadcast(S x) {
  return Eigen::internal::pset1<Packet<S>>(x);
}
template <class S>
Packet<S> load(const S* from) {
  return Eigen::internal::ploadu<Packet<S>>(from);
}
template <class S>
void store(S* to, const Packet<S>& x) {
  Eigen::internal::pstoreu(to, x);
}
/// a · b + c, fused where the processor can.
template <class P>
P multiply_add(const P& a, const P& b, const P& c) {
  return Eigen::internal::pmadd(a, b, c);
}
/// The larger of two numbers. Where one is NaN: one of them, which of the two depends on the instruction set.
template <class P>
P larger(const P& a, const P& b) {
  return Eigen::internal::pmax(a, b);
}
template <class S>
S sum_of(const Packet<S>& x) {
  return Eigen::internal::predux(x);
}
template <class S>
S largest_of(const Packet<S>& x) {
  return Eigen::internal::predux_max(x);
}

#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__)
inline constexpr bool packets_are_vectors = true;  // of the compiler: their bits can be computed with
#else
inline constexpr bool packets_are_vectors = false;
#endif

/// e to the x in float: x = m ln 2 + r, a polynomial in r (Cephes' coefficients, as in Eigen), times 2^m put
/// together from its bits. Half the time of Eigen's, whose last step serves every exponent.
template <class P>
P exp_float(const P& unlimited) {
  using Bits [[gnu::vector_size(sizeof(P))]] = std::uint32_t;  // of a number out of range they overflow
  const auto number = [](float c) { return broadcast(c); };
  const P x = Eigen::internal::pmin(unlimited, number(89.0f));  // more is infinite all the same; keeps NaN
  const P shifted = multiply_add(x, number(1.44269504088896341f), number(0x1.8p23f));  // m in the last bits
  const P m = shifted - number(0x1.8p23f);
  const P r = multiply_add(m, number(2.12194440e-4f), multiply_add(m, number(-0.693359375f), x));
  P high = multiply_add(number(1.9875691500e-4f), r, number(1.3981999507e-3f));
  high = multiply_add(high, r, number(8.3334519073e-3f));
  P low = multiply_add(number(4.1665795894e-2f), r, number(1.6666665459e-1f));
  low = multiply_add(low, r, number(5.0000001201e-1f));
  const P r2 = r * r;
  const P y = multiply_add(multiply_add(high, r2 * r, low), r2, r + number(1.0f));
  const Bits half_scale = (__builtin_bit_cast(Bits, shifted) << 23) + (126U << 23);  // 2^(m-1): m may be 128
  return y * __builtin_bit_cast(P, half_scale) * number(2.0f);
}

/// e to the x; 0 where that is below about twice the smallest normal number (subnormal numbers are slow to
/// compute with), NaN for NaN.
template <class S>
Packet<S> exp(const Packet<S>& x) {
  constexpr S lowest = sizeof(S) == 4 ? S(-86.5) : S(-708);
  using Eigen::internal::pcmp_lt, Eigen::internal::pselect, Eigen::internal::pexp;
  if constexpr (width<S> == 1)
    return x < lowest ? S(0) : std::exp(x);
  else if constexpr (packets_are_vectors && sizeof(S) == 4)
    return pselect(pcmp_lt(x, broadcast(lowest)), broadcast(S(0)), exp_float(x));
  else
    return pselect(pcmp_lt(x, broadcast(lowest)), broadcast(S(0)), pexp(x));
}

/// The root, to a unit or two: infinite for infinity, NaN below zero and for NaN. Eigen's gives NaN for
/// infinity and 0 for every subnormal number where it is vectors of approximations, and other values at the
/// odd end.
template <class S>
Packet<S> square_root(const Packet<S>& x) {
  using Eigen::internal::pcmp_lt, Eigen::internal::pcmp_eq, Eigen::internal::pselect;
  if constexpr (width<S> == 1) {
    return std::sqrt(x);
  } else if constexpr (sizeof(S) == 8 && width<S> < 8) {
    return Eigen::internal::psqrt(x);  // the processor's own
  } else {
    constexpr S up = sizeof(S) == 4 ? S(0x1p64) : S(0x1p512),
                down = sizeof(S) == 4 ? S(0x1p-32) : S(0x1p-256);
    const Packet<S> least = broadcast(std::numeric_limits<S>::min());
    const auto small = pcmp_lt(x, least);
    const Packet<S> root = Eigen::internal::psqrt(pselect(small, x * broadcast(up), x));
    const auto infinite = pcmp_eq(x, broadcast(std::numeric_limits<S>::infinity()));
    return pselect(infinite, x, pselect(small, root * broadcast(down), root));
  }
}

template <class S>
Packet<S> sigmoid(const Packet<S>& x) {
  const Packet<S> one = broadcast(S(1));
  return one / (one + exp<S>(broadcast(S(0)) - x));
}

/// One packet of some arrays: elements `index` ... `index + width - 1`.
template <class S>
struct Whole {
  Index index;
  Packet<S> load(const S* array, S = S(0)) const { return simd::load(array + index); }
  void store(S* array, const Packet<S>& x) const { simd::store(array + index, x); }
};

/// The last packet, of which `count` elements exist; the others read as `fill`.
template <class S>
struct Part {
  Index index, count;
  Packet<S> load(const S* array, S fill = S(0)) const {
    S all[width<S>];
    std::fill_n(all, width<S>, fill);
    std::copy_n(array + index, count, all);
    return simd::load(all);
  }
  void store(S* array, const Packet<S>& x) const {
    S all[width<S>];
    simd::store(all, x);
    std::copy_n(all, count, array + index);
  }
};

/// Calls `f(at)` for every packet of arrays of `count` elements: `at.load(array)`, `at.store(array, packet)`.
/// The odd elements at the end go through the same instructions as the others, and none are treated apart at
/// the start, so that an element's result depends neither on where it lies nor on how much lies beside it.
/// Inlined, or every packet would fetch what `f` captured from memory.
template <class S, class F>
[[gnu::always_inline]] inline void for_packets(Index count, F&& f) {
  Index i = 0;
  for (; i + width<S> <= count; i += width<S>) f(Whole<S>{i});
  if (i < count) f(Part<S>{i, count - i});
}

/// Σ term(at) over the packets of arrays of `count` elements. Four sums run side by side, then each is added
/// to the next: the order depends on `count` alone.
template <class S, class F>
[[gnu::always_inline]] inline S sum_over(Index count, F&& term) {
  constexpr Index step = width<S>;
  Packet<S> a = broadcast(S(0)), b = a, c = a, d = a;
  Index i = 0;
  for (; i + 4 * step <= count; i += 4 * step) {
    a = a + term(Whole<S>{i});
    b = b + term(Whole<S>{i + step});
    c = c + term(Whole<S>{i + 2 * step});
    d = d + term(Whole<S>{i + 3 * step});
  }
  for (; i + step <= count; i += step) a = a + term(Whole<S>{i});
  if (i < count) b = b + term(Part<S>{i, count - i});
  return sum_of<S>((a + b) + (c + d));
}

/// The largest of `count` elements, -inf if there is none. With a NaN among them: some value or NaN.
template <class S>
S largest_in(const S* x, Index count) {
  constexpr S lowest = -std::numeric_limits<S>::infinity();
  Packet<S> a = broadcast(lowest);
  for_packets<S>(count, [&](auto at) { a = larger(a, at.load(x, lowest)); });
  return largest_of<S>(a);
}

}  // namespace midus::simd
