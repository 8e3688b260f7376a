// Lookup and pooled lookup of rows. Bytes are the cost: each thread holds several rows' loads in flight.
#include "prelude.cuh"

// Rows that a thread loads before it stores the first of them.
#define ROWS_IN_FLIGHT 4

// Lanes of a power of two share a row; a block covers (threads / lanes) * ROWS_IN_FLIGHT rows.
template <int V, bool ACCUMULATE>
__device__ __forceinline__ void gather(const float *table, const uint32_t *ids, float *out, uint32_t n_ids,
                                       uint32_t dim, uint32_t out_stride, uint32_t lane_shift) {
    uint32_t lanes = 1u << lane_shift;
    uint32_t rows_at_once = blockDim.x >> lane_shift;
    uint32_t lane = threadIdx.x & (lanes - 1);
    uint32_t first = blockIdx.x * rows_at_once * ROWS_IN_FLIGHT + (threadIdx.x >> lane_shift);
    size_t from[ROWS_IN_FLIGHT];
#pragma unroll
    for (int r = 0; r < ROWS_IN_FLIGHT; ++r) {
        uint32_t row = first + r * rows_at_once;
        from[r] = row < n_ids ? (size_t)ids[row] * dim : 0;
    }
    for (uint32_t column = lane * V; column < dim; column += lanes * V) {
        Pack<V> value[ROWS_IN_FLIGHT];
#pragma unroll
        for (int r = 0; r < ROWS_IN_FLIGHT; ++r) {
            if (first + r * rows_at_once < n_ids) value[r] = load_pack<V>(table + from[r] + column);
        }
#pragma unroll
        for (int r = 0; r < ROWS_IN_FLIGHT; ++r) {
            uint32_t row = first + r * rows_at_once;
            if (row >= n_ids) continue;
            float *to = out + (size_t)row * out_stride + column;
            if (ACCUMULATE) {
                Pack<V> sum = load_pack<V>(to);
                add_pack(sum, value[r]);
                value[r] = sum;
            }
            store_pack(to, value[r]);
        }
    }
}

extern "C" __global__ void embedding_gather_kernel(const float *table, const uint32_t *ids, float *out, uint32_t n_ids,
                                                   uint32_t dim, uint32_t out_stride, uint32_t lane_shift) {
    gather<1, false>(table, ids, out, n_ids, dim, out_stride, lane_shift);
}

extern "C" __global__ void embedding_gather_vec4_kernel(const float *table, const uint32_t *ids, float *out,
                                                        uint32_t n_ids, uint32_t dim, uint32_t out_stride,
                                                        uint32_t lane_shift) {
    gather<4, false>(table, ids, out, n_ids, dim, out_stride, lane_shift);
}

extern "C" __global__ void embedding_gather_add_kernel(const float *table, const uint32_t *ids, float *out,
                                                       uint32_t n_ids, uint32_t dim, uint32_t out_stride,
                                                       uint32_t lane_shift) {
    gather<1, true>(table, ids, out, n_ids, dim, out_stride, lane_shift);
}

extern "C" __global__ void embedding_gather_add_vec4_kernel(const float *table, const uint32_t *ids, float *out,
                                                            uint32_t n_ids, uint32_t dim, uint32_t out_stride,
                                                            uint32_t lane_shift) {
    gather<4, true>(table, ids, out, n_ids, dim, out_stride, lane_shift);
}

// The sum of each bag's rows in the order of its ids.
template <int V>
__device__ __forceinline__ void bag(const float *table, const uint32_t *ids, const uint32_t *offsets, float *out,
                                    uint32_t n_bags, uint32_t dim, uint32_t lane_shift) {
    uint32_t lanes = 1u << lane_shift;
    uint32_t lane = threadIdx.x & (lanes - 1);
    uint32_t b = blockIdx.x * (blockDim.x >> lane_shift) + (threadIdx.x >> lane_shift);
    if (b >= n_bags) return;
    uint32_t start = offsets[b], end = offsets[b + 1];
    for (uint32_t column = lane * V; column < dim; column += lanes * V) {
        Pack<V> sum;
        for (int i = 0; i < V; ++i) sum.at[i] = 0.0f;
        uint32_t at = start;
        for (; at + ROWS_IN_FLIGHT <= end; at += ROWS_IN_FLIGHT) {
            Pack<V> value[ROWS_IN_FLIGHT];
#pragma unroll
            for (int r = 0; r < ROWS_IN_FLIGHT; ++r) {
                value[r] = load_pack<V>(table + (size_t)ids[at + r] * dim + column);
            }
#pragma unroll
            for (int r = 0; r < ROWS_IN_FLIGHT; ++r) add_pack(sum, value[r]);
        }
        for (; at < end; ++at) add_pack(sum, load_pack<V>(table + (size_t)ids[at] * dim + column));
        store_pack(out + (size_t)b * dim + column, sum);
    }
}

extern "C" __global__ void embedding_bag_kernel(const float *table, const uint32_t *ids, const uint32_t *offsets,
                                                float *out, uint32_t n_bags, uint32_t dim, uint32_t lane_shift) {
    bag<1>(table, ids, offsets, out, n_bags, dim, lane_shift);
}

extern "C" __global__ void embedding_bag_vec4_kernel(const float *table, const uint32_t *ids, const uint32_t *offsets,
                                                     float *out, uint32_t n_bags, uint32_t dim, uint32_t lane_shift) {
    bag<4>(table, ids, offsets, out, n_bags, dim, lane_shift);
}

// Which bag each id is in, as the origin of its gradient.
extern "C" __global__ void embedding_bag_origins_kernel(const uint32_t *offsets, uint32_t *origins, uint32_t n_bags) {
    uint32_t b = global_thread();
    if (b >= n_bags) return;
    for (uint32_t at = offsets[b]; at < offsets[b + 1]; ++at) origins[at] = b;
}
