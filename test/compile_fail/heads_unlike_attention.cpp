// expected: HeadwiseMemory: the memory needs as many Heads as the base model's Attention
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<HeadwiseMemory<number(8, 4), 6, 3, FactorizedValue<5>>>>);
