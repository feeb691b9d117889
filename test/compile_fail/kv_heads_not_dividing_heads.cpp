// expected: Attention: Heads must be a multiple of KvHeads
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Base<16, Attention<4, KvHeads<number(3, 2)>>>>);
