// expected: Attention: the width of a head must be even
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Base<16, Attention<4, HeadDim<number(5, 6)>>>>);
