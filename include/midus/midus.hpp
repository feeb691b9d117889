// Everything of midus that needs Eigen alone: the model, its layers and ops on the CPU, generation,
// up-scaling, training and analyses. `midus/hf.hpp` adds Hugging Face files.
#pragma once

#include "midus/core/version.hpp"
#include "midus/layers/value_kinds.hpp"
#include "midus/model/generate.hpp"
#include "midus/model/initialise.hpp"
#include "midus/model/language_model.hpp"
#include "midus/train/head_ablation.hpp"
#include "midus/train/slot_use.hpp"
#include "midus/train/trainer.hpp"
#include "midus/upscale/insert_memory.hpp"
#include "midus/upscale/llama_pro.hpp"
#include "midus/upscale/solar.hpp"

// The forms of the ops on the CPU: after the declarations, before the user's code.
#include "midus/device/peak.hpp"
#include "midus/ops/adamw_cpu.hpp"
#include "midus/ops/causal_attention_cpu.hpp"
#include "midus/ops/cross_entropy_cpu.hpp"
#include "midus/ops/embedding_cpu.hpp"
#include "midus/ops/gemm_cpu.hpp"
#include "midus/ops/head_gemm_cpu.hpp"
#include "midus/ops/product_key_top_k_cpu.hpp"
#include "midus/ops/rms_norm_cpu.hpp"
#include "midus/ops/rotary_cpu.hpp"
#include "midus/ops/sum_of_squares_cpu.hpp"
#include "midus/ops/swiglu_cpu.hpp"
#include "midus/ops/value_pool_cpu.hpp"
