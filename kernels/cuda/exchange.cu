// Packing for the all-to-all: rows go out in the order of their owners and come back to where they belong.
#include "prelude.cuh"

// Each id's owner and its row within the shard: row r lies in block r mod row_blocks, `owner_of_block` [row_blocks].
extern "C" __global__ void exchange_owners_kernel(const uint32_t *ids, const uint32_t *owner_of_block,
                                                  uint32_t *owners, uint32_t *local_rows, uint32_t n,
                                                  uint32_t row_blocks) {
    uint32_t i = global_thread();
    if (i >= n) return;
    uint32_t id = ids[i];
    owners[i] = owner_of_block[id % row_blocks];
    local_rows[i] = id / row_blocks;
}

// counts[owner] for sorted owners: the difference of the places where each owner's run ends.
extern "C" __global__ void exchange_counts_kernel(const uint32_t *sorted_owners, uint32_t *counts, uint32_t n,
                                                  uint32_t world_size) {
    uint32_t owner = global_thread();
    if (owner >= world_size) return;
    uint32_t bound[2];
    for (uint32_t side = 0; side < 2; ++side) {
        // The first place whose owner is not below `owner + side`.
        uint32_t low = 0, high = n;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (sorted_owners[middle] < owner + side) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        bound[side] = low;
    }
    counts[owner] = bound[1] - bound[0];
}

// out[i] = from[index[i]]: ids in the order in which they are sent.
extern "C" __global__ void exchange_pack_ids_kernel(const uint32_t *from, const uint32_t *index, uint32_t *out,
                                                    uint32_t n) {
    uint32_t i = global_thread();
    if (i < n) out[i] = from[index[i]];
}

// Ids that came from another rank: one that is not below `below` becomes 0 and is counted.
extern "C" __global__ void exchange_bound_kernel(uint32_t *ids, uint32_t *refused, uint32_t n, uint32_t below) {
    uint32_t i = global_thread();
    if (i >= n || ids[i] < below) return;
    ids[i] = 0;
    atomicAdd(refused, 1u);
}

// out[index[i]] = rows[i], each [dim]; no index occurs twice. (Packing rows is embedding_gather_kernel.)
template <int V>
__device__ __forceinline__ void unpack(const float *rows, const uint32_t *index, float *out, uint32_t n,
                                       uint32_t dim) {
    uint32_t packs = dim / V;
    size_t item = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (size_t)n * packs) return;
    uint32_t row = (uint32_t)(item / packs), column = (uint32_t)(item - (size_t)row * packs) * V;
    store_pack(out + (size_t)index[row] * dim + column, load_pack<V>(rows + (size_t)row * dim + column));
}

extern "C" __global__ void exchange_unpack_kernel(const float *rows, const uint32_t *index, float *out, uint32_t n,
                                                  uint32_t dim) {
    unpack<1>(rows, index, out, n, dim);
}

extern "C" __global__ void exchange_unpack_vec4_kernel(const float *rows, const uint32_t *index, float *out,
                                                       uint32_t n, uint32_t dim) {
    unpack<4>(rows, index, out, n, dim);
}
