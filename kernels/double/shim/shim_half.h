// bfloat16 and half as storage: conversions round to nearest even; arithmetic is done in float.
#pragma once
#include <cmath>
#include <cstdint>

#include "shim_math.h"
#include "shim_vectors.h"

namespace muster {
inline uint16_t to_bf16(float value) {
    const uint32_t word = bits<uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return static_cast<uint16_t>((word + 0x7fffu + (word >> 16 & 1)) >> 16);
}
inline float from_bf16(uint16_t word) { return bits<float>(static_cast<uint32_t>(word) << 16); }
inline uint16_t to_half(float value) { return bits<uint16_t>(static_cast<_Float16>(value)); }
inline float from_half(uint16_t word) { return static_cast<float>(bits<_Float16>(word)); }
}  // namespace muster

struct __nv_bfloat16 {
    uint16_t word;
    __nv_bfloat16() = default;
    __nv_bfloat16(float value) : word(muster::to_bf16(value)) {}
    operator float() const { return muster::from_bf16(word); }
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
struct __half {
    uint16_t word;
    __half() = default;
    __half(float value) : word(muster::to_half(value)) {}
    operator float() const { return muster::from_half(word); }
};
struct alignas(4) __half2 {
    __half x, y;
};
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;
using half = __half;
using half2 = __half2;

inline __nv_bfloat16 __float2bfloat16(float value) { return __nv_bfloat16(value); }
inline __nv_bfloat16 __float2bfloat16_rn(float value) { return __nv_bfloat16(value); }
inline float __bfloat162float(__nv_bfloat16 value) { return value; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.word; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short word) { return muster::bits<__nv_bfloat16>(word); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return __nv_bfloat162{x, y}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 value) { return __nv_bfloat162{value.x, value.y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 value) { return make_float2(value.x, value.y); }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return __nv_bfloat162{x, y}; }

inline __half __float2half(float value) { return __half(value); }
inline __half __float2half_rn(float value) { return __half(value); }
inline float __half2float(__half value) { return value; }
inline unsigned short __half_as_ushort(__half value) { return value.word; }
inline __half __ushort_as_half(unsigned short word) { return muster::bits<__half>(word); }
inline __half2 __floats2half2_rn(float x, float y) { return __half2{x, y}; }
inline float2 __half22float2(__half2 value) { return make_float2(value.x, value.y); }
inline float __low2float(__nv_bfloat162 value) { return value.x; }
inline float __high2float(__nv_bfloat162 value) { return value.y; }
inline float __low2float(__half2 value) { return value.x; }
inline float __high2float(__half2 value) { return value.y; }
