// The k largest of one row of numbers, in order, on the processor.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "midus/core/shape.hpp"

namespace midus {

// The scheme: cut the row into 2k or more groups. The k-th largest of the groups' maxima is a threshold that
// at least k numbers reach, and few others: about 22 in all for k = 16. Gather those, and rank each by
// counting how many come before it. No step depends on the order of the numbers, so there is little to
// mispredict. Rows that do not fit the scheme (NaN among the k largest, ties without end, k > 32 of many) are
// left to an insertion sort. Every path chooses the same indices.

/// The order of every selection: larger numbers first, a NaN after every number.
template <class S>
constexpr bool ranks_before(S a, S b) {
  return a > b || (b != b && a == a);
}

/// The arrays that a selection writes have room for this many more than k: scratch.
inline constexpr Index top_k_slack = 128;

/// The k largest by insertion into a sorted list, one number after the other.
template <class S>
[[gnu::noinline]] void top_k_by_insertion(const S* x, Index n, Index k, S* values, std::int32_t* indices) {
  Index size = 0;
  for (Index i = 0; i < n; ++i) {
    if (size == k && !ranks_before(x[i], values[k - 1])) continue;
    const Index at =
        std::partition_point(values, values + size, [&](S v) { return !ranks_before(x[i], v); }) - values;
    if (size < k) ++size;
    std::move_backward(values + at, values + size - 1, values + size);
    std::move_backward(indices + at, indices + size - 1, indices + size);
    values[at] = x[i];
    indices[at] = static_cast<std::int32_t>(i);
  }
}

/// Vectors of the width of the machine's registers, in the spelling that both g++ and clang know.
template <class S>
struct Lanes {
#if defined(__AVX512F__)
  static constexpr int bytes = 64;
#elif defined(__AVX__)
  static constexpr int bytes = 32;
#else
  static constexpr int bytes = 16;
#endif
  static constexpr int count = bytes / static_cast<int>(sizeof(S));
  using Int = std::conditional_t<sizeof(S) == 4, std::int32_t, std::int64_t>;
  typedef S Vector __attribute__((vector_size(bytes)));
  typedef Int IntVector __attribute__((vector_size(bytes)));

  /// A window of `count` that begins at `count - l` has a one in lane l.
  static constexpr auto one = [] {
    std::array<Int, 2 * static_cast<std::size_t>(count)> table{};
    table[table.size() / 2] = 1;
    return table;
  }();
};

template <class V, class T>
V load_lanes(const T* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <class V, class T>
void store_lanes(T* to, const V& v) {
  std::memcpy(to, &v, sizeof v);
}

/// Bit i: x[i] >= t, for one vector of x. Not where x[i] is NaN.
template <class S>
std::uint64_t lanes_at_least(const S* x, S t) {
  constexpr bool single = sizeof(S) == 4;
#if defined(__AVX512F__)
  if constexpr (single) return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_set1_ps(t), _CMP_GE_OQ);
  if constexpr (!single) return _mm512_cmp_pd_mask(_mm512_loadu_pd(x), _mm512_set1_pd(t), _CMP_GE_OQ);
#elif defined(__SSE2__)
  int mask = 0;
#if defined(__AVX__)
  if constexpr (single)
    mask = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x), _mm256_set1_ps(t), _CMP_GE_OQ));
  else
    mask = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(x), _mm256_set1_pd(t), _CMP_GE_OQ));
#else
  if constexpr (single)
    mask = _mm_movemask_ps(_mm_cmpge_ps(_mm_loadu_ps(x), _mm_set1_ps(t)));
  else
    mask = _mm_movemask_pd(_mm_cmpge_pd(_mm_loadu_pd(x), _mm_set1_pd(t)));
#endif
  return static_cast<std::uint32_t>(mask);
#else
  std::uint64_t mask = 0;
  for (int i = 0; i < Lanes<S>::count; ++i) mask |= std::uint64_t{x[i] >= t} << i;
  return mask;
#endif
}

/// The k-th largest of `Groups` maxima, k <= Groups: at least k of x reach it. Element i is in group
/// i mod Groups; an empty group's maximum is -Inf, and NaN counts as nothing.
template <int Groups, class S>
S group_threshold(const S* x, Index n, Index k) {
  using L = Lanes<S>;
  using Vector = typename L::Vector;
  constexpr int vectors = Groups / L::count;
  constexpr S infinity = std::numeric_limits<S>::infinity();
  Vector largest[vectors];
  for (Vector& v : largest) v = -infinity - Vector{};
  const auto take = [&](const S* from) {
    for (int v = 0; v < vectors; ++v) {
      const Vector a = load_lanes<Vector>(from + v * L::count);
      largest[v] = a > largest[v] ? a : largest[v];
    }
  };
  alignas(64) S maxima[Groups];
  Index i = 0;
  for (; i + Groups <= n; i += Groups) take(x + i);
  if (i < n) {
    std::fill_n(maxima, Groups, -infinity);
    std::copy(x + i, x + n, maxima);
    take(maxima);
  }
  for (int v = 0; v < vectors; ++v) store_lanes(maxima + v * L::count, largest[v]);
  typename L::IntVector above[vectors]{};  // minus the number of maxima that are larger
#pragma GCC unroll 4
  for (int j = 0; j < Groups; ++j) {
    const Vector other = maxima[j] - Vector{};
    for (int v = 0; v < vectors; ++v) above[v] += other > largest[v];
  }
  Vector least = infinity - Vector{};  // of those with fewer than k above them
  for (int v = 0; v < vectors; ++v) {
    const Vector kept = above[v] > static_cast<typename L::Int>(-k) ? largest[v] : least;
    least = kept < least ? kept : least;
  }
  S t = least[0];
  for (int l = 1; l < L::count; ++l) t = least[l] < t ? least[l] : t;
  return t;
}

/// For `Vectors` vectors of keys from `first` on: how many of the keys 0 ... count-1 are larger, or equal and
/// earlier. `first` and `count` are multiples of the vectors' width.
template <int Vectors, class S>
void rank_keys(const typename Lanes<S>::Int* keys, int first, int count, typename Lanes<S>::Int* ranks) {
  using L = Lanes<S>;
  using IntVector = typename L::IntVector;
  IntVector own[Vectors], above[Vectors]{};
  // Equal and earlier means larger than the own key less one: the own keys start one lower, and each becomes
  // itself when its turn comes.
  for (int v = 0; v < Vectors; ++v) own[v] = load_lanes<IntVector>(keys + first + v * L::count) - 1;
  const auto compare = [&](typename L::Int key) {
    const IntVector other = key - IntVector{};
    for (int v = 0; v < Vectors; ++v) above[v] += other > own[v];
  };
  int j = 0;
  for (; j < first; ++j) compare(keys[j]);
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v)
#pragma GCC unroll 1
    for (int l = 0; l < L::count; ++l) {  // unrolled, g++ would hoist all loads and spill them
      own[v] += load_lanes<IntVector>(L::one.data() + L::count - l);
      compare(keys[j++]);
    }
  for (; j < count; ++j) compare(keys[j]);
  for (int v = 0; v < Vectors; ++v) store_lanes(ranks + first + v * L::count, -above[v]);
}

/// The k largest, given a threshold that at least k of x reach. False where fewer do (NaN), or too many; then
/// nothing is written.
template <class S>
bool top_k_from(S threshold, const S* x, Index n, Index k, S* values, std::int32_t* indices) {
  using L = Lanes<S>;
  using Int = typename L::Int;
  constexpr int room = static_cast<int>(top_k_slack);
  alignas(64) S kept[room + 64];
  alignas(64) std::int32_t at[room + 64];
  int count = 0;
  for (Index block = 0; block < n; block += 64) {
    const int size = static_cast<int>(std::min<Index>(64, n - block));
    std::uint64_t mask = 0;
    int i = 0;
    for (; i + L::count <= size; i += L::count) mask |= lanes_at_least(x + block + i, threshold) << i;
    for (; i < size; ++i) mask |= std::uint64_t{x[block + i] >= threshold} << i;
    const int found = std::popcount(mask);
    if (count + found > room) return false;
    const std::uint64_t last = std::uint64_t{1} << (size - 1);  // a valid place, when all have been found
    for (int e = count; e < count + found; e += 4)
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        const Index place = block + std::countr_zero(mask);
        kept[e + u] = x[place];
        at[e + u] = static_cast<std::int32_t>(place);
        mask = (mask & (mask - 1)) | last;
      }
    count += found;
  }
  if (count < k || count == 0) return false;  // the second is for g++, which would warn of no keys
  const int padded = (count + L::count - 1) / L::count * L::count;
  std::fill(kept + count, kept + padded, -std::numeric_limits<S>::infinity());
  alignas(64) Int keys[room + 64], ranks[room + 64];
  for (int e = 0; e < padded; e += L::count) {
    const auto v = load_lanes<typename L::Vector>(kept + e) + S(0);  // one zero of both
    auto key = load_lanes<typename L::IntVector>(&v);
    key ^= (key < 0) & std::numeric_limits<Int>::max();  // integers in the order of the numbers
    store_lanes(keys + e, key);
  }
  int first = 0;
  for (; first + 4 * L::count < padded; first += 4 * L::count) rank_keys<4, S>(keys, first, padded, ranks);
  switch ((padded - first) / L::count) {
    case 1:
      rank_keys<1, S>(keys, first, padded, ranks);
      break;
    case 2:
      rank_keys<2, S>(keys, first, padded, ranks);
      break;
    case 3:
      rank_keys<3, S>(keys, first, padded, ranks);
      break;
    default:
      rank_keys<4, S>(keys, first, padded, ranks);
  }
  for (int e = 0; e < count; ++e) {
    values[ranks[e]] = kept[e];
    indices[ranks[e]] = at[e];
  }
  return true;
}

/// The k largest of x[0 ... n-1] in descending order, equal ones (also +0 and -0) by the lower index, a NaN
/// after every number: values and indices. 1 <= k <= n; both arrays have room for k + top_k_slack.
template <class S>
[[gnu::noinline]] void top_k(const S* x, Index n, Index k, S* values, std::int32_t* indices) {
  bool done = false;
  if (k <= 8)
    done = top_k_from(group_threshold<16>(x, n, k), x, n, k, values, indices);
  else if (k <= 16)
    done = top_k_from(group_threshold<32>(x, n, k), x, n, k, values, indices);
  else if (k <= 32)
    done = top_k_from(group_threshold<64>(x, n, k), x, n, k, values, indices);
  else if (n <= top_k_slack)
    done = top_k_from(-std::numeric_limits<S>::infinity(), x, n, k, values, indices);
  if (!done) top_k_by_insertion(x, n, k, values, indices);
}

}  // namespace midus
