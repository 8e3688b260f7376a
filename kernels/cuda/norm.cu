// Norms in two stages of a fixed shape, in f64, and clipping without a trip to the host.
#include "prelude.cuh"

#define NORM_THREADS 256
// Values that one block sums; part of the numeric contract.
#define NORM_TILE 8192

__device__ __forceinline__ void block_sum(double *lanes, double own) {
    lanes[threadIdx.x] = own;
    __syncthreads();
    for (uint32_t width = NORM_THREADS / 2; width > 0; width /= 2) {
        if (threadIdx.x < width) lanes[threadIdx.x] = lanes[threadIdx.x] + lanes[threadIdx.x + width];
        __syncthreads();
    }
}

// partials[tile] = sum of squares of a tile.
extern "C" __global__ void norm_squares_kernel(const float *values, double *partials, uint64_t n) {
    __shared__ double lanes[NORM_THREADS];
    uint64_t start = (uint64_t)blockIdx.x * NORM_TILE;
    double own = 0.0;
#pragma unroll 8
    for (uint32_t item = 0; item < NORM_TILE / NORM_THREADS; ++item) {
        uint64_t i = start + item * NORM_THREADS + threadIdx.x;
        double value = i < n ? (double)values[i] : 0.0;
        own = own + value * value;
    }
    block_sum(lanes, own);
    if (threadIdx.x == 0) partials[blockIdx.x] = lanes[0];
}

// total[0] += the sum of `partials`, in one block; also the sum of losses.
extern "C" __global__ void norm_combine_kernel(const double *partials, double *total, uint32_t n) {
    __shared__ double lanes[NORM_THREADS];
    double own = 0.0;
    for (uint32_t i = threadIdx.x; i < n; i += NORM_THREADS) own = own + partials[i];
    block_sum(lanes, own);
    if (threadIdx.x == 0) total[0] = total[0] + lanes[0];
}

// factor[0] = what gradients with that sum of squares are multiplied by so that their norm is at most `limit`.
extern "C" __global__ void norm_clip_kernel(const double *squares, float *factor, double limit) {
    if (global_thread() > 0) return;
    double wanted = limit / (sqrt(squares[0]) + 1e-6);
    factor[0] = wanted < 1.0 ? (float)wanted : 1.0f;
}
