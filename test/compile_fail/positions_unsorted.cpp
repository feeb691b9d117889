// expected: BeforeLayers: positions must be ascending and distinct
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<GoodMemory, BeforeLayers<number(2, 0), number(0, 2)>>>);
