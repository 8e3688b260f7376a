// The gradient of a lookup: each row's gradients, summed in the order of occurrence, go straight into the row's update.
//
// Occurrences come sorted by row (sort.cu). Sorted places are cut into stretches of STRETCH; a row whose occurrences
// lie within one stretch is summed at once, in order. A row that reaches over several stretches (a popular item) is
// summed per stretch first, then over its stretches in order. So the sum is a function of the arguments alone, no warp
// walks more than STRETCH gradients, and up to STRETCH occurrences the bits are the CPU's.
#include "rules.cuh"

#define STRETCH 64
#define GRADS_IN_FLIGHT 4

// Where the gradients of rows lie. `starts` is null where each row has one gradient, in the order of `ids`.
struct Gradients {
    const uint32_t *ids, *starts, *origins;
    const float *grads, *partials, *factor;
    uint32_t dim, grad_stride;
};

// Adds the gradients at sorted places start..end, V columns of each.
template <int V>
__device__ __forceinline__ Pack<V> sum_places(const Gradients &g, uint32_t start, uint32_t end, uint32_t column) {
    Pack<V> sum = load_pack<V>(g.grads + (size_t)g.origins[start] * g.grad_stride + column);
    uint32_t at = start + 1;
    for (; at + GRADS_IN_FLIGHT <= end; at += GRADS_IN_FLIGHT) {
        Pack<V> value[GRADS_IN_FLIGHT];
#pragma unroll
        for (int r = 0; r < GRADS_IN_FLIGHT; ++r) {
            value[r] = load_pack<V>(g.grads + (size_t)g.origins[at + r] * g.grad_stride + column);
        }
#pragma unroll
        for (int r = 0; r < GRADS_IN_FLIGHT; ++r) add_pack(sum, value[r]);
    }
    for (; at < end; ++at) {
        add_pack(sum, load_pack<V>(g.grads + (size_t)g.origins[at] * g.grad_stride + column));
    }
    return sum;
}

// The whole gradient of a segment, times the clipping factor.
template <int V>
__device__ __forceinline__ Pack<V> sum_segment(const Gradients &g, uint32_t segment, uint32_t column, float factor) {
    Pack<V> sum;
    if (g.starts == nullptr) {
        sum = load_pack<V>(g.grads + (size_t)segment * g.grad_stride + column);
    } else {
        uint32_t start = g.starts[segment], end = g.starts[segment + 1];
        uint32_t first = start / STRETCH, last = (end - 1) / STRETCH;
        if (first == last) {
            sum = sum_places<V>(g, start, end, column);
        } else {
            sum = load_pack<V>(g.partials + (size_t)(2 * first + 1) * g.dim + column);
            for (uint32_t stretch = first + 1; stretch <= last; ++stretch) {
                add_pack(sum, load_pack<V>(g.partials + (size_t)(2 * stretch) * g.dim + column));
            }
        }
    }
    for (int i = 0; i < V; ++i) sum.at[i] = sum.at[i] * factor;
    return sum;
}

// Sums what lies in a stretch of the rows that reach over its ends: partials[2 k] of the row that comes into stretch k,
// partials[2 k + 1] of the row that starts in it and goes on. One warp a stretch.
template <int V>
__device__ __forceinline__ void partials(const uint32_t *keys, Gradients g, float *out, uint32_t n) {
    uint32_t stretch = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    uint32_t lane = threadIdx.x & 31;
    uint32_t start = stretch * STRETCH;
    if (start >= n) return;
    uint32_t end = smaller(start + STRETCH, n);
    bool comes_in = start > 0 && keys[start - 1] == keys[start];
    bool goes_on = end < n && keys[end - 1] == keys[end];
    if (!comes_in && !goes_on) return;
    uint32_t head = start, tail = end - 1;
    while (comes_in && head < end && keys[head] == keys[start]) ++head;
    while (tail > start && keys[tail - 1] == keys[end - 1]) --tail;
    for (uint32_t column = lane * V; column < g.dim; column += 32 * V) {
        if (comes_in) {
            store_pack(out + (size_t)(2 * stretch) * g.dim + column, sum_places<V>(g, start, head, column));
        }
        if (goes_on && !(comes_in && head == end)) {
            store_pack(out + (size_t)(2 * stretch + 1) * g.dim + column, sum_places<V>(g, tail, end, column));
        }
    }
}

#define GRADIENTS(partial_sums) \
    Gradients { ids, starts, origins, grads, partial_sums, factor, dim, grad_stride }

extern "C" __global__ void embedding_partials_kernel(const uint32_t *keys, const uint32_t *origins, const float *grads,
                                                     float *partial_sums, uint32_t n, uint32_t dim,
                                                     uint32_t grad_stride) {
    partials<1>(keys, Gradients{nullptr, nullptr, origins, grads, nullptr, nullptr, dim, grad_stride}, partial_sums, n);
}

extern "C" __global__ void embedding_partials_vec4_kernel(const uint32_t *keys, const uint32_t *origins,
                                                          const float *grads, float *partial_sums, uint32_t n,
                                                          uint32_t dim, uint32_t grad_stride) {
    partials<4>(keys, Gradients{nullptr, nullptr, origins, grads, nullptr, nullptr, dim, grad_stride}, partial_sums, n);
}

// One warp a row: its whole gradient, then the rule on each element.
template <int V, class Rows>
__device__ __forceinline__ void update(const Gradients &g, const uint32_t *n_rows, uint32_t most, const Rows &rows) {
    uint32_t segment = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    uint32_t lane = threadIdx.x & 31;
    uint32_t count = n_rows == nullptr ? most : smaller(n_rows[0], most);
    if (segment >= count) return;
    float factor = factor_or_one(g.factor);
    size_t row = (size_t)g.ids[segment] * g.dim;
    for (uint32_t column = lane * V; column < g.dim; column += 32 * V) {
        rows.apply(row + column, sum_segment<V>(g, segment, column, factor));
    }
}

// The arguments that all updates begin with; `most` bounds the rows, whose number is read from the device.
#define ROW_ARGUMENTS                                                                                             \
    const uint32_t *ids, const uint32_t *starts, const uint32_t *origins, const uint32_t *n_rows, const float *grads, \
        const float *partial_sums, const float *factor, uint32_t most, uint32_t dim, uint32_t grad_stride

extern "C" __global__ void embedding_update_sgd_kernel(ROW_ARGUMENTS, float *params, float lr, float weight_decay) {
    update<1>(GRADIENTS(partial_sums), n_rows, most, SgdRows<1>{SgdRule{lr, weight_decay}, params});
}

extern "C" __global__ void embedding_update_sgd_vec4_kernel(ROW_ARGUMENTS, float *params, float lr,
                                                            float weight_decay) {
    update<4>(GRADIENTS(partial_sums), n_rows, most, SgdRows<4>{SgdRule{lr, weight_decay}, params});
}

extern "C" __global__ void embedding_update_momentum_kernel(ROW_ARGUMENTS, float *params, float *buffer, float lr,
                                                            float weight_decay, float momentum, uint32_t nesterov) {
    MomentumRule rule{lr, weight_decay, momentum, nesterov != 0};
    update<1>(GRADIENTS(partial_sums), n_rows, most, OneStateRows<1, MomentumRule>{rule, params, buffer});
}

extern "C" __global__ void embedding_update_momentum_vec4_kernel(ROW_ARGUMENTS, float *params, float *buffer, float lr,
                                                                 float weight_decay, float momentum,
                                                                 uint32_t nesterov) {
    MomentumRule rule{lr, weight_decay, momentum, nesterov != 0};
    update<4>(GRADIENTS(partial_sums), n_rows, most, OneStateRows<4, MomentumRule>{rule, params, buffer});
}

extern "C" __global__ void embedding_update_adagrad_kernel(ROW_ARGUMENTS, float *params, float *sum, float lr,
                                                           float eps, float weight_decay) {
    AdagradRule rule{lr, eps, weight_decay};
    update<1>(GRADIENTS(partial_sums), n_rows, most, OneStateRows<1, AdagradRule>{rule, params, sum});
}

extern "C" __global__ void embedding_update_adagrad_vec4_kernel(ROW_ARGUMENTS, float *params, float *sum, float lr,
                                                                float eps, float weight_decay) {
    AdagradRule rule{lr, eps, weight_decay};
    update<4>(GRADIENTS(partial_sums), n_rows, most, OneStateRows<4, AdagradRule>{rule, params, sum});
}

extern "C" __global__ void embedding_update_adam_kernel(ROW_ARGUMENTS, float *params, float *m, float *v,
                                                        float step_size, float beta2, float one_minus_beta1,
                                                        float one_minus_beta2, float correction2_sqrt, float eps,
                                                        float l2, float keep) {
    AdamRule rule{step_size, beta2, one_minus_beta1, one_minus_beta2, correction2_sqrt, eps, l2, keep};
    update<1>(GRADIENTS(partial_sums), n_rows, most, AdamRows<1>{rule, params, m, v});
}

extern "C" __global__ void embedding_update_adam_vec4_kernel(ROW_ARGUMENTS, float *params, float *m, float *v,
                                                             float step_size, float beta2, float one_minus_beta1,
                                                             float one_minus_beta2, float correction2_sqrt, float eps,
                                                             float l2, float keep) {
    AdamRule rule{step_size, beta2, one_minus_beta1, one_minus_beta2, correction2_sqrt, eps, l2, keep};
    update<4>(GRADIENTS(partial_sums), n_rows, most, AdamRows<4>{rule, params, m, v});
}

// Stores the summed gradients by segment instead of updating a table: what goes back to the rows' owners.
template <int V>
__device__ __forceinline__ void scatter_sum(const Gradients &g, const uint32_t *n_rows, uint32_t most, float *out) {
    uint32_t segment = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    uint32_t lane = threadIdx.x & 31;
    uint32_t count = n_rows == nullptr ? most : smaller(n_rows[0], most);
    if (segment >= count) return;
    float factor = factor_or_one(g.factor);
    for (uint32_t column = lane * V; column < g.dim; column += 32 * V) {
        store_pack(out + (size_t)segment * g.dim + column, sum_segment<V>(g, segment, column, factor));
    }
}

extern "C" __global__ void embedding_scatter_sum_kernel(ROW_ARGUMENTS, float *out) {
    scatter_sum<1>(GRADIENTS(partial_sums), n_rows, most, out);
}

extern "C" __global__ void embedding_scatter_sum_vec4_kernel(ROW_ARGUMENTS, float *out) {
    scatter_sum<4>(GRADIENTS(partial_sums), n_rows, most, out);
}

// Row-wise Adagrad: the row's gradient waits in shared memory (dim floats a warp) for its mean square, which is summed
// in 16 lanes and a tree as on the CPU.
template <int V>
__device__ __forceinline__ void update_rowwise(const Gradients &g, const uint32_t *n_rows, uint32_t most,
                                               float *params, float *sum, float *waiting, float lr, float eps,
                                               float weight_decay) {
    uint32_t warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    uint32_t segment = blockIdx.x * (blockDim.x >> 5) + warp;
    uint32_t count = n_rows == nullptr ? most : smaller(n_rows[0], most);
    if (segment >= count) return;
    float factor = factor_or_one(g.factor);
    uint32_t id = g.ids[segment];
    float *row = params + (size_t)id * g.dim;
    // Rows in shared memory start at multiples of 16 bytes.
    float *own = waiting + (size_t)warp * ((g.dim + 3) / 4 * 4);
    for (uint32_t column = lane * V; column < g.dim; column += 32 * V) {
        Pack<V> grad = sum_segment<V>(g, segment, column, factor);
        Pack<V> p = load_pack<V>(row + column);
        for (int i = 0; i < V; ++i) grad.at[i] = grad.at[i] + weight_decay * p.at[i];
        store_pack(own + column, grad);
    }
    __syncwarp();
    float squares = 0.0f;
    if (lane < 16) {
        for (uint32_t column = lane; column < g.dim; column += 16) squares = squares + own[column] * own[column];
    }
#pragma unroll
    for (uint32_t width = 8; width > 0; width /= 2) {
        squares = squares + __shfl_down_sync(MUSTER_FULL_WARP, squares, width);
    }
    squares = __shfl_sync(MUSTER_FULL_WARP, squares, 0);
    float total = sum[id] + squares / (float)g.dim;
    float rate = lr / (sqrtf(total) + eps);
    __syncwarp();
    if (lane == 0) sum[id] = total;
    for (uint32_t column = lane * V; column < g.dim; column += 32 * V) {
        Pack<V> p = load_pack<V>(row + column), grad = load_pack<V>(own + column);
        for (int i = 0; i < V; ++i) p.at[i] = p.at[i] - rate * grad.at[i];
        store_pack(row + column, p);
    }
}

extern "C" __global__ void embedding_update_rowwise_kernel(ROW_ARGUMENTS, float *params, float *sum, float lr,
                                                           float eps, float weight_decay) {
    DYN_SHARED(float, waiting);
    update_rowwise<1>(GRADIENTS(partial_sums), n_rows, most, params, sum, waiting, lr, eps, weight_decay);
}

extern "C" __global__ void embedding_update_rowwise_vec4_kernel(ROW_ARGUMENTS, float *params, float *sum, float lr,
                                                                float eps, float weight_decay) {
    DYN_SHARED(float, waiting);
    update_rowwise<4>(GRADIENTS(partial_sums), n_rows, most, params, sum, waiting, lr, eps, weight_decay);
}
