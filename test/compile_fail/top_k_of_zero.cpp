// expected: HeadwiseMemory: TopK must be at least 1
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<HeadwiseMemory<4, 6, number(0, 1), FactorizedValue<5>>>>);
