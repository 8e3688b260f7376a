// What every kernel file starts with. The same text compiles with nvcc for a GPU and with g++ for the double, which
// runs each CUDA thread as a fiber; so the kernels are plain C++, without inline PTX, wmma or cooperative groups.
//
// Arithmetic: the build passes --fmad=false, and fmaf stands where the CPU's kernels fuse, so that an op whose sums
// have the CPU's order has the CPU's bits.
#pragma once
#ifdef MUSTER_HOST_SHIM
#include "host_shim.h"
#else
#include <cuda_bf16.h>
#include <stdint.h>
// The block's dynamic shared memory as an array of T.
#define DYN_SHARED(T, name)                                                      \
    extern __shared__ __align__(16) unsigned char muster_dynamic_shared_memory[]; \
    T *name = reinterpret_cast<T *>(muster_dynamic_shared_memory)
// What a thread does while it waits for another block.
#define MUSTER_SPIN() __nanosleep(40)
#endif

#define MUSTER_FULL_WARP 0xffffffffu
#define MUSTER_NONE 0xffffffffu

__device__ __forceinline__ uint32_t global_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

__device__ __forceinline__ uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

// A factor that another kernel left in device memory; without one, 1.
__device__ __forceinline__ float factor_or_one(const float *factor) { return factor == nullptr ? 1.0f : factor[0]; }

// The next integer of 4 values, as vector loads see them.
__device__ __forceinline__ float4 load4(const float *from) { return *reinterpret_cast<const float4 *>(from); }

__device__ __forceinline__ void store4(float *to, float4 value) { *reinterpret_cast<float4 *>(to) = value; }

// V consecutive values that are loaded and stored at once: V is 1, or 4 where addresses are multiples of 16 bytes.
template <int V>
struct Pack {
    float at[V];
};

template <int V>
__device__ __forceinline__ Pack<V> load_pack(const float *from) {
    Pack<V> pack;
    if (V == 4) {
        float4 value = load4(from);
        pack.at[0] = value.x;
        pack.at[1 % V] = value.y;
        pack.at[2 % V] = value.z;
        pack.at[3 % V] = value.w;
    } else {
        pack.at[0] = from[0];
    }
    return pack;
}

template <int V>
__device__ __forceinline__ void store_pack(float *to, const Pack<V> &pack) {
    if (V == 4) {
        float4 value;
        value.x = pack.at[0];
        value.y = pack.at[1 % V];
        value.z = pack.at[2 % V];
        value.w = pack.at[3 % V];
        store4(to, value);
    } else {
        to[0] = pack.at[0];
    }
}

template <int V>
__device__ __forceinline__ void add_pack(Pack<V> &sum, const Pack<V> &value) {
    for (int i = 0; i < V; ++i) sum.at[i] = sum.at[i] + value.at[i];
}
