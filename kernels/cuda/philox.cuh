// Philox4x32-10, the words of kernels/src/rng.rs.
#pragma once
#include "prelude.cuh"

struct Words {
    uint32_t at[4];
};

__device__ __forceinline__ Words philox4x32(uint32_t key0, uint32_t key1, uint64_t a, uint64_t b) {
    uint32_t x0 = (uint32_t)a, x1 = (uint32_t)(a >> 32), x2 = (uint32_t)b, x3 = (uint32_t)(b >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        uint64_t low = (uint64_t)0xD2511F53u * x0;
        uint64_t high = (uint64_t)0xCD9E8D57u * x2;
        x0 = (uint32_t)(high >> 32) ^ x1 ^ key0;
        x1 = (uint32_t)high;
        x2 = (uint32_t)(low >> 32) ^ x3 ^ key1;
        x3 = (uint32_t)low;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    Words words;
    words.at[0] = x0;
    words.at[1] = x1;
    words.at[2] = x2;
    words.at[3] = x3;
    return words;
}
