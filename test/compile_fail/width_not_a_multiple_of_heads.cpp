// expected: Attention: Width must be a multiple of Heads, or give the width of a head: HeadDim<D>
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Base<number(18, 16), Attention<4>>>);
