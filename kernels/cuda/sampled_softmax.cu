// Softmax of each position's target against negatives that the micro-batch shares, with logQ correction; between the
// products, as kernels/src/softmax/sampled/row.rs.
#include "math.cuh"

#define SAMPLED_THREADS 128
#define DOT_LANES 16

// The sum over 16 lanes: lane j takes elements j, j + 16, and so on; then a tree. All 32 lanes of a warp call it.
__device__ __forceinline__ float lane_dot(const float *a, const float *b, uint32_t dim) {
    uint32_t lane = threadIdx.x & 31;
    float sum = 0.0f;
    if (lane < DOT_LANES) {
        for (uint32_t k = lane; k < dim; k += DOT_LANES) sum = fmaf(a[k], b[k], sum);
    }
#pragma unroll
    for (uint32_t width = DOT_LANES / 2; width > 0; width /= 2) {
        sum = sum + __shfl_down_sync(MUSTER_FULL_WARP, sum, width);
    }
    return __shfl_sync(MUSTER_FULL_WARP, sum, 0);
}

// One block a position. `logits` [n, k] holds hidden . negative and receives weight * softmax; `target_scale` [n]
// receives the gradient of the target's logit, `losses` [n] the position's weighted loss.
extern "C" __global__ void sampled_softmax_kernel(float *logits, const float *hidden, const float *target_rows,
                                                  const float *target_bias, const uint32_t *target_ids,
                                                  const float *target_log_q, const float *negative_bias,
                                                  const uint32_t *negative_ids, const float *negative_log_q,
                                                  const float *weights, float *target_scale, double *losses,
                                                  uint32_t k, uint32_t dim) {
    __shared__ float lanes[SAMPLED_THREADS];
    __shared__ float target_logit;
    uint32_t position = blockIdx.x;
    float *row = logits + (size_t)position * k;
    uint32_t target_id = target_ids[position];
    if (threadIdx.x < 32) {
        size_t at = (size_t)position * dim;
        float dot = lane_dot(hidden + at, target_rows + at, dim);
        if (threadIdx.x == 0) {
            float bias = target_bias == nullptr ? 0.0f : target_bias[position];
            target_logit = dot + (bias - target_log_q[position]);
        }
    }
    __syncthreads();
    float target = target_logit, max = target;
    for (uint32_t i = threadIdx.x; i < k; i += SAMPLED_THREADS) {
        float offset = (negative_bias == nullptr ? 0.0f : negative_bias[i]) - negative_log_q[i];
        float logit = negative_ids[i] == target_id ? from_bits(0xff800000u) : row[i] + offset;
        row[i] = logit;
        max = logit > max ? logit : max;
    }
    lanes[threadIdx.x] = max;
    __syncthreads();
    for (uint32_t width = SAMPLED_THREADS / 2; width > 0; width /= 2) {
        if (threadIdx.x < width) {
            float other = lanes[threadIdx.x + width];
            lanes[threadIdx.x] = other > lanes[threadIdx.x] ? other : lanes[threadIdx.x];
        }
        __syncthreads();
    }
    max = lanes[0];
    __syncthreads();
    float sum = 0.0f;
    for (uint32_t i = threadIdx.x; i < k; i += SAMPLED_THREADS) {
        float e = exp_of(row[i] - max);
        row[i] = e;
        sum = sum + e;
    }
    lanes[threadIdx.x] = sum;
    __syncthreads();
    for (uint32_t width = SAMPLED_THREADS / 2; width > 0; width /= 2) {
        if (threadIdx.x < width) lanes[threadIdx.x] = lanes[threadIdx.x] + lanes[threadIdx.x + width];
        __syncthreads();
    }
    float target_exp = exp_of(target - max);
    sum = target_exp + lanes[0];
    float weight = weights[position], scale = weight / sum;
    for (uint32_t i = threadIdx.x; i < k; i += SAMPLED_THREADS) row[i] = row[i] * scale;
    if (threadIdx.x == 0) {
        target_scale[position] = target_exp * scale - weight;
        losses[position] = weight == 0.0f ? 0.0 : (double)weight * (double)(ln_of(sum) + max - target);
    }
}

// d_hidden = scale * target row and d_targets = scale * hidden, each [n, dim].
extern "C" __global__ void sampled_targets_kernel(const float *scale, const float *hidden, const float *target_rows,
                                                  float *d_hidden, float *d_targets, uint32_t n, uint32_t dim) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (size_t)n * dim) return;
    float factor = scale[i / dim];
    d_hidden[i] = factor * target_rows[i];
    d_targets[i] = factor * hidden[i];
}

// out [n] = hidden . row + bias of each position: one warp a position.
extern "C" __global__ void dot_forward_kernel(const float *hidden, const float *rows, const float *bias, float *out,
                                              uint32_t n, uint32_t dim) {
    uint32_t position = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    if (position >= n) return;
    size_t at = (size_t)position * dim;
    float dot = lane_dot(hidden + at, rows + at, dim);
    if ((threadIdx.x & 31) == 0) out[position] = dot + (bias == nullptr ? 0.0f : bias[position]);
}
