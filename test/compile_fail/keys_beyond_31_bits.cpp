// expected: Memory: Keys squared must fit in 31 bits
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<HeadwiseMemory<4, number(46341, 46340), 3, FactorizedValue<5>>>>);
