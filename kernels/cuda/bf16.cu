// bfloat16 operands of products: f32 values rounded to the nearest, ties to even.
#include "prelude.cuh"

// Two neighbours as they lie in memory.
__device__ __forceinline__ uint32_t round_two(float low, float high) {
    uint32_t first = __bfloat16_as_ushort(__float2bfloat16_rn(low));
    return first | (uint32_t)__bfloat16_as_ushort(__float2bfloat16_rn(high)) << 16;
}

extern "C" __global__ void bf16_round_kernel(const float *from, __nv_bfloat16 *to, uint64_t n) {
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = __float2bfloat16_rn(from[i]);
}

// Eight values a thread, for `from` at a multiple of 16 bytes: 32 bytes are read and 16 are written at once.
extern "C" __global__ void bf16_round_vec8_kernel(const float *from, __nv_bfloat16 *to, uint64_t n) {
    uint64_t first = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (first + 8 > n) {
        for (uint64_t i = first; i < n; ++i) to[i] = __float2bfloat16_rn(from[i]);
        return;
    }
    float4 low = load4(from + first), high = load4(from + first + 4);
    uint4 rounded;
    rounded.x = round_two(low.x, low.y);
    rounded.y = round_two(low.z, low.w);
    rounded.z = round_two(high.x, high.y);
    rounded.w = round_two(high.z, high.w);
    *reinterpret_cast<uint4 *>(to + first) = rounded;
}
