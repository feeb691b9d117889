// expected: BeforeLayers: positions must be ascending and distinct
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<GoodMemory, BeforeLayers<1, number(1, 2)>>>);
