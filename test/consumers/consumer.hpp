// What both units of the consumers' program include: all of midus, which must link all the same.
#pragma once

#include <cstdio>

#include "every_header.hpp"  // run.sh writes it

/// The address of something that must exist once in a program, as the unit other_unit.cpp sees it.
const void* seen_by_other_unit();
