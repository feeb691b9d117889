// expected: Upscaled: Base must be a plain Llama; name all positions at once
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

using Once = Part<Deeper<GoodMemory>, Base<16, Attention<4>>>;
static_assert(compiles<Upscaled<Once, MemoryBlock<GoodMemory>, BeforeLayers<1>>>);
