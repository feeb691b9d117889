// Products of matrices on one thread. Included by ops/*_cpu.hpp only.
//
// C = F + A·B is computed in blocks of a few rows by two registers of columns, which stay in registers over a
// stretch of the sum (Goto and van de Geijn 2008, doi 10.1145/1356052.1356053). B is packed beforehand into
// panels of that many columns; A is read where it lies. An op packs its weight once and shares the panels
// among its tasks, which a call of a library's product per tile cannot. Each element of C is summed in one
// order that depends on the length of the sum alone: not on its place, nor on the size of C.
#pragma once

#include <array>
#include <cstring>

#include "midus/device/arena.hpp"
#include "midus/device/simd.hpp"

namespace midus {

/// The block of C that is held in registers.
template <class S>
struct ProductBlock {
  static constexpr int rows = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 12 : 6;
  static constexpr Index cols = 2 * simd::width<S>;
  /// The longest stretch of the sum: a panel of B stays in the first-level cache.
  static constexpr Index depth = 16384 / (cols * static_cast<Index>(sizeof(S)));
};

/// The elements that the panels of a matrix with `cols` columns take.
template <class S>
constexpr Index panel_size(Index depth, Index cols) {
  constexpr Index width = ProductBlock<S>::cols;
  return (cols + width - 1) / width * width * depth;
}

/// Rows `from` ... `from + count - 1` of B [depth × cols] into its panels; `b` is the first of them, `ldb`
/// the distance of two rows.
template <class S>
[[gnu::noinline]] void pack_rows(const S* b, Index ldb, Index cols, Index depth, Index from, Index count,
                                 S* panels) {
  constexpr Index width = ProductBlock<S>::cols;
  for (Index j = 0; j < cols; j += width) {
    const S* in = b + j;
    S* out = panels + j * depth + from * width;
    if (j + width <= cols) {
      for (Index k = 0; k < count; ++k, in += ldb, out += width) {
        __builtin_prefetch(in + width);  // for the next panel
        std::memcpy(out, in, width * sizeof(S));
      }
    } else {
      for (Index k = 0; k < count; ++k, in += ldb, out += width)
        std::fill_n(std::copy_n(in, cols - j, out), width - (cols - j), S(0));
    }
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // PacketBlock<__m256, ...>: the alignment is kept
#endif
/// The same for B given by its transpose, [cols × depth]: all of B.
template <class S>
[[gnu::noinline]] void pack_transposed(const S* b, Index ldb, Index cols, Index depth, S* panels) {
  constexpr Index width = ProductBlock<S>::cols;
  constexpr int lanes = static_cast<int>(simd::width<S>);
  for (Index j = 0; j < cols; j += width) {
    S* const out = panels + j * depth;
    const S* const in = b + j * ldb;
    Index k = 0;
    if constexpr (lanes > 1)
      if (j + width <= cols)
        for (; k + lanes <= depth; k += lanes)
          for (Index half = 0; half < width; half += lanes) {
            Eigen::internal::PacketBlock<simd::Packet<S>, lanes> block;
            MIDUS_UNROLL
            for (int i = 0; i < lanes; ++i) block.packet[i] = simd::load(in + (half + i) * ldb + k);
            Eigen::internal::ptranspose(block);
            MIDUS_UNROLL
            for (int i = 0; i < lanes; ++i) simd::store(out + (k + i) * width + half, block.packet[i]);
          }
    for (; k < depth; ++k)
      for (Index i = 0; i < width; ++i) out[k * width + i] = j + i < cols ? in[i * ldb + k] : S(0);
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// The left factor A: element (i, k) lies at data[i / block · group + i % block · row + k · step], where
/// block is ProductBlock::rows.
template <class S>
struct Left {
  const S* data;
  Index row, step, group;
};

/// A as it lies in memory: rows `lda` apart.
template <class S>
Left<S> left_rows(const S* a, Index lda) {
  return {a, lda, 1, ProductBlock<S>::rows * lda};
}

/// A = Bᵀ where B lies in memory, its rows `ldb` apart: for a B that is in the first-level cache.
template <class S>
Left<S> left_columns(const S* b, Index ldb) {
  return {b, 1, ldb, ProductBlock<S>::rows};
}

template <class S>
constexpr Index left_size(Index rows, Index depth) {
  constexpr Index width = ProductBlock<S>::rows;
  return (rows + width - 1) / width * width * depth;
}

/// A = Bᵀ for B [depth × rows] with rows `ldb` apart: B is cut into groups of columns, which the sum then
/// reads from front to back. `packed` has room for left_size(rows, depth).
template <class S>
[[gnu::noinline]] Left<S> pack_left(const S* b, Index ldb, Index rows, Index depth, S* packed) {
  constexpr Index width = ProductBlock<S>::rows;
  const Index whole = rows / width * width, rest = rows - whole;
  for (Index k = 0; k < depth; ++k, b += ldb) {
    S* out = packed + k * width;
    if (k + 16 < depth)
      for (Index i = 0; i < rows; i += 64 / static_cast<Index>(sizeof(S)))
        __builtin_prefetch(b + 16 * ldb + i);
    if (k + 1 < depth) {  // in whole registers: what is too much lies in the next row and is overwritten next
      for (Index i = 0; i < whole; i += width, out += width * depth)
        for (Index lane = 0; lane < width; lane += simd::width<S>)
          simd::store(out + lane, simd::load(b + i + lane));
    } else {
      for (Index i = 0; i < whole; i += width, out += width * depth) std::copy_n(b + i, width, out);
    }
    if (rest > 0) std::copy_n(b + whole, rest, out);
  }
  return {packed, 1, width, width * depth};
}

/// What a block of C is made of: c = f + Σ a b, or without f where it is null.
template <class S>
struct BlockOut {
  S* c;
  Index ldc;
  const S* f;
  Index ldf;
};

template <class S, int Rows>
void multiply_block(Index depth, const Left<S>& a, const S* panel, const BlockOut<S>& out) {
  using P = simd::Packet<S>;
  constexpr Index lanes = simd::width<S>;
  P left[Rows], right[Rows];  // NOLINT: std::array of packets draws warnings from g++
  const S* rows[Rows];
  MIDUS_UNROLL
  for (int i = 0; i < Rows; ++i) {
    left[i] = right[i] = simd::broadcast(S(0));
    rows[i] = a.data + i * a.row;
  }
  for (Index k = 0, at = 0; k < depth; ++k, at += a.step, panel += 2 * lanes) {
    __builtin_prefetch(panel + 32 * lanes);  // its first use comes from the second-level cache
    P b0 = simd::load(panel), b1 = simd::load(panel + lanes);
#if defined(__GNUC__) && !defined(__clang__) && (defined(__x86_64__) || defined(__i386__))
    // g++ tuned for Zen 2 or 3 would read the panel from memory again in every multiply-add.
    if constexpr (lanes > 1) __asm__("" : "+x"(b0), "+x"(b1));
#endif
    MIDUS_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const P x = simd::broadcast(rows[i][at]);
      left[i] = simd::multiply_add(x, b0, left[i]);
      right[i] = simd::multiply_add(x, b1, right[i]);
    }
  }
  MIDUS_UNROLL
  for (int i = 0; i < Rows; ++i) {
    S* const c = out.c + i * out.ldc;
    if (out.f != nullptr) {
      const S* const f = out.f + i * out.ldf;
      left[i] = simd::load(f) + left[i];
      right[i] = simd::load(f + lanes) + right[i];
    }
    simd::store(c, left[i]);
    simd::store(c + lanes, right[i]);
  }
}

/// C [m × n] = F + A·B with B in panels; without F where `f` is null. F may be C. The panels may hold more
/// rows than B has: `panel_depth`.
template <class S>
[[gnu::noinline]] void multiply(Index m, Index n, Index depth, const Left<S>& a, const S* panels, S* c,
                                Index ldc, const S* f, Index ldf, Index panel_depth = 0) {
  using Block = ProductBlock<S>;
  using Kernel = void (*)(Index, const Left<S>&, const S*, const BlockOut<S>&);
  static constexpr auto kernels = []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<Kernel, sizeof...(I)>{&multiply_block<S, I + 1>...};
  }
  (std::make_integer_sequence<int, Block::rows>());
  constexpr Index chunk = 40 * Block::rows;  // rows of A that stay in the second-level cache
  if (panel_depth == 0) panel_depth = depth;
  const Left<S> left = depth == 0 ? Left<S>{a.data, 0, 0, 0} : a;  // none of it may have no address to add to
  const Index stretches = std::max<Index>(1, (depth + Block::depth - 1) / Block::depth);
  const Index stretch = (depth + stretches - 1) / stretches;
  for (Index top = 0; top < m; top += chunk)
    for (Index k = 0; k < depth || k == 0; k += std::max<Index>(1, stretch)) {
      const Index count = std::min(stretch, depth - k);
      const S* const from = k == 0 ? f : c;
      const Index ldfrom = k == 0 ? ldf : ldc;
      for (Index j = 0; j < n; j += Block::cols) {
        const S* const panel = panels + j * panel_depth + k * Block::cols;
        const Index cols = std::min(Block::cols, n - j);
        for (Index i = top, end = std::min(m, top + chunk); i < end; i += Block::rows) {
          const Index rows = std::min<Index>(Block::rows, end - i);
          const Left<S> part{left.data + i / Block::rows * left.group + k * left.step, left.row, left.step,
                             left.group};
          const Kernel kernel = kernels[static_cast<std::size_t>(rows - 1)];
          if (cols == Block::cols) {
            kernel(count, part, panel,
                   {c + i * ldc + j, ldc, from ? from + i * ldfrom + j : nullptr, ldfrom});
            continue;
          }
          S block[Block::rows * Block::cols];
          kernel(count, part, panel, {block, Block::cols, nullptr, 0});
          for (Index r = 0; r < rows; ++r)
            for (Index s = 0; s < cols; ++s) {
              const S sum = block[r * Block::cols + s];
              c[(i + r) * ldc + j + s] = from ? from[(i + r) * ldfrom + j + s] + sum : sum;
            }
        }
      }
    }
}

}  // namespace midus
