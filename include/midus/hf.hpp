// Files of midus: Hugging Face directories in and out (needs nlohmann-json).
#pragma once

#include "midus/io/hf_checkpoint.hpp"
#include "midus/train/run.hpp"
