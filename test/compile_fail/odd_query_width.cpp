// expected: ProductKeyMemory: QueryDim must be even
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<ProductKeyMemory<3, 6, 3, number(7, 8)>>>);
