// expected: HeadwiseMemory: Heads times the width of a head must equal Width, since the memory writes to the residual stream
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

using Wide = Base<16, Attention<4, HeadDim<number(6, 4)>>>;
static_assert(compiles<Upscaled<Wide, MemoryBlock<GoodMemory>, BeforeLayers<1>>>);
