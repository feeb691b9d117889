// expected: Upscaled: every position must name a layer of Base
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<GoodMemory, BeforeLayers<number(-1, 0), 2>>>);
