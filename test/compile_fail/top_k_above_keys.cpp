// expected: HeadwiseMemory: TopK must not exceed Keys
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<HeadwiseMemory<4, 6, number(7, 6), FactorizedValue<5>>>>);
