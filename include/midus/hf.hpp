// Files of midus: Hugging Face directories in and out, up-scaling them, runs (needs nlohmann-json).
#pragma once

#include "midus/io/generation_config.hpp"
#include "midus/io/hf_checkpoint.hpp"
#include "midus/train/run.hpp"
#include "midus/train/split.hpp"
#include "midus/upscale/compare_files.hpp"
#include "midus/upscale/expand_files.hpp"
#include "midus/upscale/plan_text.hpp"
