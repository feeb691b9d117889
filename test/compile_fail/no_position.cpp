// expected: Upscaled: name at least one position
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

static_assert(compiles<Deeper<GoodMemory, Part<BeforeLayers<>, BeforeLayers<0>>>>);
