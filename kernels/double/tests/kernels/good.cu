// Kernels without a fault, of the kinds that the product has: what the double must run and stay silent about.
#ifdef MUSTER_HOST_SHIM
#include "host_shim.h"
#endif

constexpr int kThreads = 128;

extern "C" __global__ void __launch_bounds__(kThreads) scale_kernel(const float* x, float* y, float factor, int n) {
    const int idx = blockIdx.x * blockDim.x + threadIdx.x;
    if (idx < n) y[idx] = factor * x[idx];
}

// Sums by warps, then by the block, then over blocks.
extern "C" __global__ void __launch_bounds__(kThreads) sum_kernel(const float* x, float* total, int n) {
    __shared__ float parts[kThreads / 32];
    float sum = 0.0f;
    for (int idx = blockIdx.x * blockDim.x + threadIdx.x; idx < n; idx += gridDim.x * blockDim.x) sum += x[idx];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        float all = 0.0f;
        for (unsigned warp = 0; warp < blockDim.x / 32; warp++) all += parts[warp];
        atomicAdd(total, all);
    }
}

// Reverses each block's piece through dynamic shared memory, four floats at a time where it can.
extern "C" __global__ void reverse_kernel(const float4* x, float4* y) {
    DYN_SHARED(float4, tile);
    const unsigned idx = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = x[idx];
    __syncthreads();
    const float4 from = tile[blockDim.x - 1 - threadIdx.x];
    y[idx] = make_float4(from.w, from.z, from.y, from.x);
}

// All blocks wait for each other once a step; `arrived` counts, as a persistent kernel does it.
static __device__ void grid_barrier(unsigned* arrived, unsigned target) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicAdd(arrived, 1u);
        while (*reinterpret_cast<volatile unsigned*>(arrived) < target) {
            MUSTER_SPIN();
        }
        __threadfence();
    }
    __syncthreads();
    __threadfence();
}

// Each step, each block adds what its neighbour had in the step before.
extern "C" __global__ void ring_kernel(float* now, float* next, unsigned* arrived, int steps) {
    __shared__ float seen;
    const unsigned left = (blockIdx.x + gridDim.x - 1) % gridDim.x;
    for (int step = 0; step < steps; step++) {
        if (threadIdx.x == 0) seen = now[left];
        __syncthreads();
        if (threadIdx.x == blockDim.x - 1) next[blockIdx.x] = now[blockIdx.x] + seen;
        grid_barrier(arrived, gridDim.x * (step + 1));
        float* swap = now;
        now = next;
        next = swap;
    }
}

struct Pair {
    const float* from;
    float* to;
    int n;
};

extern "C" __global__ void copy_pair_kernel(Pair pair) {
    const int idx = blockIdx.x * blockDim.x + threadIdx.x;
    if (idx < pair.n) pair.to[idx] = pair.from[idx];
}

extern "C" __global__ void narrow_kernel(const float* x, __nv_bfloat16* y, int n) {
    const int idx = blockIdx.x * blockDim.x + threadIdx.x;
    if (idx < n) y[idx] = __float2bfloat16(x[idx]);
}
