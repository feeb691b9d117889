// The ops on the processor, as tests with a whole model share them: compiled once, in shared_ops.cpp, as fast
// as a program has them. The build includes this first in such tests, so that each compiles its own part
// alone.
#pragma once

#include "midus/midus.hpp"

// Every op with a form on Cpu; one that is missing here is compiled in each test that uses it.
#define MIDUS_FOR_OPS(f, S)                                                                                 \
  f(AdamwLargest, S) f(AdamwStep, S) f(CausalAttention, S) f(CausalAttentionBackward, S) f(CrossEntropy, S) \
      f(Embedding, S) f(EmbeddingBackward, S) f(Gemm, S) f(GemmBackwardInput, S) f(GemmBackwardWeight, S)   \
          f(HeadGemm, S) f(HeadGemmBackwardInput, S) f(HeadGemmBackwardWeight, S) f(ProductKeyTopK, S)      \
              f(ProductKeyTopKBackward, S) f(RmsNorm, S) f(RmsNormBackward, S) f(Rotary, S)                 \
                  f(SumOfSquares, S) f(Swiglu, S) f(SwigluBackward, S) f(ValuePool, S)                      \
                      f(ValuePoolBackward, S)

namespace midus {

#define MIDUS_ELSEWHERE(Op, S) extern template void run<S>(Cpu<S>&, const Op<S>&);
MIDUS_FOR_OPS(MIDUS_ELSEWHERE, float)
MIDUS_FOR_OPS(MIDUS_ELSEWHERE, double)
#undef MIDUS_ELSEWHERE

}  // namespace midus
