// Kernels with one planted fault each. All take 64 floats and n = 64; the fault's line says so.
#ifdef MUSTER_HOST_SHIM
#include "host_shim.h"
#endif

extern "C" __global__ void missing_barrier_kernel(float* x, int n) {
    __shared__ float tile[64];
    tile[threadIdx.x] = static_cast<float>(threadIdx.x);
    // Here a __syncthreads is missing.
    x[threadIdx.x] = tile[n - 1 - threadIdx.x];
}

extern "C" __global__ void diverging_kernel(float* x, int n) {
    if (threadIdx.x < 16) {
        x[threadIdx.x] = 1.0f;
        __syncthreads();
    } else {
        __syncthreads();  // Another barrier than the one above.
    }
    x[threadIdx.x] = static_cast<float>(n);
}

extern "C" __global__ void one_too_far_kernel(float* x, int n) {
    for (int idx = threadIdx.x; idx <= n; idx += blockDim.x) x[idx] = 1.0f;  // <= instead of <.
}

extern "C" __global__ void misaligned_kernel(float* x, int) {
    // Not a multiple of 16 bytes.
    if (threadIdx.x == 0) *reinterpret_cast<float4*>(x + 1) = make_float4(1, 2, 3, 4);
}

extern "C" __global__ void unset_shared_kernel(float* x, int n) {
    __shared__ float parts[64];
    if (threadIdx.x < 32) parts[threadIdx.x] = 1.0f;
    __syncthreads();
    x[threadIdx.x] = parts[n - 1 - threadIdx.x];  // Half of them were never written.
}

extern "C" __global__ void unset_dynamic_kernel(float* x, int) {
    DYN_SHARED(float, tile);
    x[threadIdx.x] = tile[threadIdx.x];
}

extern "C" __global__ void partial_shuffle_kernel(float* x, int) {
    // Half of the warp names all of it.
    if (threadIdx.x < 16) x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
}

extern "C" __global__ void exited_shuffle_kernel(float* x, int) {
    if (threadIdx.x == 5) return;
    x[threadIdx.x] = __shfl_sync(0xffffffffu, 1.0f, 0);
}

extern "C" __global__ void mixed_wait_kernel(float* x, int) {
    if (threadIdx.x < 8) __syncwarp();
    else __syncthreads();  // The two wait for each other.
    x[threadIdx.x] = 1.0f;
}

extern "C" __global__ void wild_kernel(float* x, int n) {
    if (threadIdx.x == 3) x[static_cast<long>(n) << 40] = 1.0f;
}

extern "C" __global__ void endless_stack_kernel(float* x, int n) {
    volatile char deep[128 << 10];
    deep[n] = 1;
    x[threadIdx.x] = deep[n];
}

extern "C" __global__ void plain_add_kernel(float* x, int) {
    x[0] += 1.0f;  // Not an atomicAdd.
}

extern "C" __global__ void two_blocks_kernel(float* x, int) {
    if (threadIdx.x == blockIdx.x) x[7] = 1.0f;  // Every block, at the same place.
}

extern "C" __global__ void spinning_kernel(float* x, int) {
    while (*reinterpret_cast<volatile float*>(x) == 0.0f) {
        MUSTER_SPIN();
    }
}

// A grid barrier without fences: what was written before it is not ordered before what is read after it.
extern "C" __global__ void unfenced_barrier_kernel(float* x, int) {
    auto* arrived = reinterpret_cast<unsigned*>(x + 32);
    if (threadIdx.x == 0) {
        x[blockIdx.x] = 1.0f;
        atomicAdd(arrived, 1u);
        while (*reinterpret_cast<volatile unsigned*>(arrived) < gridDim.x) {
            MUSTER_SPIN();
        }
        x[16 + blockIdx.x] = x[(blockIdx.x + 1) % gridDim.x];
    }
}

extern "C" __global__ void overflowing_kernel(float* x, int n) {
    int row = n << 24;
    row = row * 2 + static_cast<int>(threadIdx.x) * (1 << 26);  // Past the largest int.
    x[threadIdx.x] = static_cast<float>(row > 0);
}

extern "C" __global__ void past_static_kernel(float* x, int n) {
    __shared__ float tile[63];
    tile[threadIdx.x % 63] = 1.0f;
    __syncthreads();
    if (threadIdx.x == 1) x[0] = tile[n - 1];  // The 64th of 63.
}

extern "C" __global__ void past_dynamic_kernel(float* x, int n) {
    DYN_SHARED(float, tile);
    tile[threadIdx.x + 1] = 1.0f;  // The last thread writes past the end.
    __syncthreads();
    x[threadIdx.x] = tile[n / 2];
}

// Two warps reduce into one slice.
extern "C" __global__ void shared_slice_kernel(float* x, int) {
    __shared__ float slice[32];
    const unsigned lane = threadIdx.x % 32;
    slice[lane] = x[threadIdx.x] + static_cast<float>(threadIdx.x);  // Not by warp.
    __syncwarp();
    x[threadIdx.x] = slice[31 - lane];
}

extern "C" __global__ void dividing_kernel(float* x, int n) {
    const int zero = n - 64;
    x[threadIdx.x] = static_cast<float>(n / zero);
}
