// The reference device with its forms of all ops.
#pragma once

#include "reference/adamw.hpp"
#include "reference/causal_attention.hpp"
#include "reference/cross_entropy.hpp"
#include "reference/device.hpp"
#include "reference/embedding.hpp"
#include "reference/gemm.hpp"
#include "reference/head_gemm.hpp"
#include "reference/product_key_top_k.hpp"
#include "reference/rms_norm.hpp"
#include "reference/rotary.hpp"
#include "reference/sum_of_squares.hpp"
#include "reference/swiglu.hpp"
#include "reference/value_pool.hpp"
