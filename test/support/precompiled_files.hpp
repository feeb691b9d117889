// What the build precompiles for tests of files. A test includes what it uses all the same.
#pragma once

#include "midus/upscale/expand_files.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/shared_json.hpp"
