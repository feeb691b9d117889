// What the build precompiles for tests of models: files, and all of midus with its ops compiled elsewhere.
#pragma once

#include "midus/hf.hpp"
#include "support/precompiled_files.hpp"
#include "support/shared_ops.hpp"
