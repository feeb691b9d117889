// Marks what a CUDA kernel may call too; means nothing to a host compiler.
#pragma once

#ifdef __CUDACC__
#define MIDUS_HOST_DEVICE __host__ __device__
#else
#define MIDUS_HOST_DEVICE
#endif

#ifdef __FAST_MATH__
#error \
    "midus: -ffast-math removes the NaN checks and the order of sums that the library promises; build without it"
#endif
