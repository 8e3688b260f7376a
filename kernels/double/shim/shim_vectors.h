// CUDA's vector types with CUDA's alignment: a misaligned float4 is a fault here too.
#pragma once
#include <cstdint>

#include "engine.h"

#define MUSTER_VECTOR(NAME, T, ALIGN2, ALIGN4)                                                    \
    struct alignas(ALIGN2) NAME##2 { T x, y; };                                                   \
    struct alignas(ALIGN4) NAME##4 { T x, y, z, w; };                                             \
    inline NAME##2 make_##NAME##2(T x, T y) { return NAME##2{x, y}; }                             \
    inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return NAME##4{x, y, z, w}; }

MUSTER_VECTOR(char, char, 2, 4)
MUSTER_VECTOR(uchar, unsigned char, 2, 4)
MUSTER_VECTOR(short, short, 4, 8)
MUSTER_VECTOR(ushort, unsigned short, 4, 8)
MUSTER_VECTOR(int, int, 8, 16)
MUSTER_VECTOR(uint, unsigned, 8, 16)
MUSTER_VECTOR(float, float, 8, 16)
MUSTER_VECTOR(longlong, long long, 16, 16)
MUSTER_VECTOR(ulonglong, unsigned long long, 16, 16)
MUSTER_VECTOR(double, double, 16, 16)
#undef MUSTER_VECTOR

struct float3 { float x, y, z; };
struct int3 { int x, y, z; };
inline float3 make_float3(float x, float y, float z) { return float3{x, y, z}; }
inline int3 make_int3(int x, int y, int z) { return int3{x, y, z}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return uint3{x, y, z}; }
