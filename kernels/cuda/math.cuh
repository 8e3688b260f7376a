// exp, sigmoid, tanh and ln of kernels/src/math.rs, operation for operation.
#pragma once
#include "prelude.cuh"

#include <string.h>

__device__ __forceinline__ uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

__device__ __forceinline__ float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

struct SplitExp {
    int32_t n;
    float p;
};

// exp(x) = 2^n (1 + p).
__device__ __forceinline__ SplitExp split_exp(float x) {
    const float round = 12582912.0f;
    float rounded = fmaf(x, 1.44269504088896340736f, round);
    float steps = rounded - round;
    float r = fmaf(steps, 1.9046542e-9f, fmaf(steps, -0.693147180559945309417f, x));
    float q = 0.0013950539f;
    q = fmaf(q, r, 0.008368918f);
    q = fmaf(q, r, 0.041666206f);
    q = fmaf(q, r, 0.16666518f);
    q = fmaf(q, r, 0.5f);
    SplitExp split;
    split.n = (int32_t)(bits_of(rounded) - bits_of(round));
    split.p = fmaf(q, r * r, r);
    return split;
}

__device__ __forceinline__ float power_of_two(int32_t n) { return from_bits((uint32_t)(n + 127) << 23); }

// A NaN stays one.
__device__ __forceinline__ float clamp_to(float x, float low, float high) {
    x = x < low ? low : x;
    return high < x ? high : x;
}

__device__ __forceinline__ float exp_of(float x) {
    SplitExp split = split_exp(clamp_to(x, -105.0f, 89.0f));
    int32_t half = split.n >> 1;
    return (1.0f + split.p) * power_of_two(half) * power_of_two(split.n - half);
}

__device__ __forceinline__ float sigmoid_of(float x) {
    SplitExp split = split_exp(clamp_to(-x, -87.0f, 87.0f));
    float scale = power_of_two(split.n);
    return 1.0f / (1.0f + fmaf(split.p, scale, scale));
}

__device__ __forceinline__ float tanh_of(float x) {
    float size = clamp_to(fabsf(x), 0.0f, 10.0f);
    SplitExp split = split_exp(2.0f * size);
    float scale = power_of_two(split.n);
    float e = fmaf(scale, split.p, scale - 1.0f);
    return copysignf(e / (e + 2.0f), x);
}

__device__ __forceinline__ float ln_of(float x) {
    bool subnormal = x < 1.17549435e-38f;
    float scaled = subnormal ? x * 8388608.0f : x;
    float offset = subnormal ? -23.0f : 0.0f;
    uint32_t sqrt_half = 0x3f3504f3u;
    uint32_t shifted = bits_of(scaled) - sqrt_half;
    float exponent = (float)((int32_t)shifted >> 23) + offset;
    float f = from_bits((shifted & 0x007fffffu) + sqrt_half) - 1.0f;
    float p = -0.07859948f;
    p = fmaf(p, f, 0.12885858f);
    p = fmaf(p, f, -0.13130452f);
    p = fmaf(p, f, 0.141807f);
    p = fmaf(p, f, -0.16624348f);
    p = fmaf(p, f, 0.20002303f);
    p = fmaf(p, f, -0.25000817f);
    p = fmaf(p, f, 0.33333316f);
    float square = f * f;
    float y = fmaf(exponent, -2.1219444e-4f, p * f * square);
    y = f + fmaf(square, -0.5f, y);
    float finite = fmaf(exponent, 0.6933594f, y);
    const float infinity = from_bits(0x7f800000u);
    float high = x == infinity ? x : finite;
    float positive = x == 0.0f ? -infinity : high;
    return x >= 0.0f ? positive : from_bits(0x7fc00000u);
}
