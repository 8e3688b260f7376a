// Softmax cross-entropy over one shard of an item table, a block of positions at a time. The logits of the block come
// from a product; these kernels find their maxima and sums, and turn them in place into the gradient of the logits.
#include "math.cuh"

#define SOFTMAX_THREADS 256
// Rows of the table that one block scores for one position; part of the numeric contract.
#define SOFTMAX_TILE 4096

struct Stats {
    float max, sum;
};

// The statistics of two sets of logits.
__device__ __forceinline__ Stats join(Stats a, Stats b) {
    float max = b.max > a.max ? b.max : a.max;
    Stats both;
    both.max = max;
    // A set without logits has maximum -infinity and adds nothing; without this, two of them would give a NaN.
    float left = a.sum == 0.0f ? 0.0f : a.sum * exp_of(a.max - max);
    float right = b.sum == 0.0f ? 0.0f : b.sum * exp_of(b.max - max);
    both.sum = left + right;
    return both;
}

// max and sum [tiles, n] of one position (blockIdx.y) over one tile of rows (blockIdx.x); `logits` [n, n_rows].
// Whoever has the target's logit stores it; `target_logit` [n] starts as zeros.
extern "C" __global__ void softmax_stats_kernel(const float *logits, const float *bias, const uint32_t *targets,
                                                float *max, float *sum, float *target_logit, uint32_t n,
                                                uint32_t n_rows) {
    __shared__ Stats warps[SOFTMAX_THREADS / 32];
    uint32_t position = blockIdx.y, tile = blockIdx.x;
    uint32_t start = tile * SOFTMAX_TILE, end = smaller(start + SOFTMAX_TILE, n_rows);
    uint32_t target = targets[position];
    const float *row = logits + (size_t)position * n_rows;
    float values[SOFTMAX_TILE / SOFTMAX_THREADS];
    Stats own;
    own.max = from_bits(0xff800000u);
    own.sum = 0.0f;
#pragma unroll
    for (uint32_t item = 0; item < SOFTMAX_TILE / SOFTMAX_THREADS; ++item) {
        uint32_t v = start + item * SOFTMAX_THREADS + threadIdx.x;
        float logit = from_bits(0xff800000u);
        if (v < end) {
            logit = row[v] + (bias == nullptr ? 0.0f : bias[v]);
            if (v == target) target_logit[position] = logit;
        }
        values[item] = logit;
        own.max = logit > own.max ? logit : own.max;
    }
#pragma unroll
    for (uint32_t item = 0; item < SOFTMAX_TILE / SOFTMAX_THREADS; ++item) {
        uint32_t v = start + item * SOFTMAX_THREADS + threadIdx.x;
        if (v < end) own.sum = own.sum + exp_of(values[item] - own.max);
    }
#pragma unroll
    for (uint32_t width = 16; width > 0; width /= 2) {
        Stats other;
        other.max = __shfl_down_sync(MUSTER_FULL_WARP, own.max, width);
        other.sum = __shfl_down_sync(MUSTER_FULL_WARP, own.sum, width);
        own = join(own, other);
    }
    if ((threadIdx.x & 31) == 0) warps[threadIdx.x >> 5] = own;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (uint32_t w = 1; w < SOFTMAX_THREADS / 32; ++w) own = join(own, warps[w]);
        max[(size_t)tile * n + position] = own.max;
        sum[(size_t)tile * n + position] = own.sum;
    }
}

// Combines the statistics of `parts` (tiles of a shard, or shards of a table) in their order: each [parts, n].
// `target_logits` may be null.
extern "C" __global__ void softmax_combine_kernel(const float *maxima, const float *sums, const float *target_logits,
                                                  float *max, float *sum, float *target_logit, uint32_t n,
                                                  uint32_t parts) {
    uint32_t i = global_thread();
    if (i >= n) return;
    float highest = from_bits(0xff800000u);
    for (uint32_t part = 0; part < parts; ++part) {
        float other = maxima[(size_t)part * n + i];
        highest = other > highest ? other : highest;
    }
    float total = 0.0f, logit = 0.0f;
    for (uint32_t part = 0; part < parts; ++part) {
        total = total + sums[(size_t)part * n + i] * exp_of(maxima[(size_t)part * n + i] - highest);
        if (target_logits != nullptr) logit = logit + target_logits[(size_t)part * n + i];
    }
    max[i] = highest;
    sum[i] = total;
    if (target_logits != nullptr) target_logit[i] = logit;
}

// Makes of `logits` [n, n_rows] the gradient of the weighted loss: weight * (softmax - [row is the target]). It replaces
// the logits, or goes to `rounded` where products take bfloat16 operands; then logits are replaced too only where there
// is a bias, whose gradient sums the exact values.
extern "C" __global__ void softmax_gradient_kernel(float *logits, const float *bias, const uint32_t *targets,
                                                   const float *weights, const float *max, const float *sum,
                                                   __nv_bfloat16 *rounded, uint32_t n_rows) {
    uint32_t position = blockIdx.y;
    uint32_t start = blockIdx.x * SOFTMAX_TILE, end = smaller(start + SOFTMAX_TILE, n_rows);
    float weight = weights[position], highest = max[position], scale = weight / sum[position];
    uint32_t target = targets[position];
    size_t first = (size_t)position * n_rows;
    float *row = logits + first;
    bool exact = rounded == nullptr || bias != nullptr;
#pragma unroll 4
    for (uint32_t v = start + threadIdx.x; v < end; v += SOFTMAX_THREADS) {
        float logit = row[v] + (bias == nullptr ? 0.0f : bias[v]);
        float gradient = exp_of(logit - highest) * scale;
        if (v == target) gradient = gradient - weight;
        if (exact) row[v] = gradient;
        if (rounded != nullptr) rounded[first + v] = __float2bfloat16_rn(gradient);
    }
}

// Adds the sum of weight * (ln sum + max - target logit) to loss[0], in f64: one block of SOFTMAX_THREADS, a fixed tree.
extern "C" __global__ void softmax_loss_kernel(const float *max, const float *sum, const float *target_logit,
                                               const float *weights, double *loss, uint32_t n) {
    __shared__ double lanes[SOFTMAX_THREADS];
    double own = 0.0;
    for (uint32_t i = threadIdx.x; i < n; i += SOFTMAX_THREADS) {
        float weight = weights[i];
        if (weight != 0.0f) own = own + (double)weight * (double)(ln_of(sum[i]) + max[i] - target_logit[i]);
    }
    lanes[threadIdx.x] = own;
    __syncthreads();
    for (uint32_t width = SOFTMAX_THREADS / 2; width > 0; width /= 2) {
        if (threadIdx.x < width) lanes[threadIdx.x] = lanes[threadIdx.x] + lanes[threadIdx.x + width];
        __syncthreads();
    }
    if (threadIdx.x == 0) loss[0] = loss[0] + lanes[0];
}
