// A stable radix sort of (key, origin) pairs, and the segments of equal keys. No atomics on floats, no order of blocks:
// the result depends on the arguments alone.
#include "prelude.cuh"

// A tile is what one block of SORT_THREADS ranks: each warp takes SORT_ITEMS * 32 consecutive pairs in order.
#define SORT_THREADS 256
#define SORT_WARPS 8
#define SORT_ITEMS 8
#define SORT_TILE (SORT_THREADS * SORT_ITEMS)
#define DIGITS 256

extern "C" __global__ void sort_origins_kernel(uint32_t *origins, uint32_t n) {
    uint32_t i = global_thread();
    if (i < n) origins[i] = i;
}

// counts[digit * n_tiles + tile]: how many keys of the tile have the digit at `shift`.
extern "C" __global__ void sort_histogram_kernel(const uint32_t *keys, uint32_t *counts, uint32_t n, uint32_t shift,
                                                 uint32_t n_tiles) {
    __shared__ uint32_t histogram[DIGITS];
    histogram[threadIdx.x] = 0;
    __syncthreads();
    uint32_t start = blockIdx.x * SORT_TILE;
    for (uint32_t item = 0; item < SORT_ITEMS; ++item) {
        uint32_t i = start + item * SORT_THREADS + threadIdx.x;
        if (i < n) atomicAdd(&histogram[(keys[i] >> shift) & (DIGITS - 1)], 1u);
    }
    __syncthreads();
    counts[threadIdx.x * n_tiles + blockIdx.x] = histogram[threadIdx.x];
}

// The sum of the warp's values before this lane's.
__device__ __forceinline__ uint32_t warp_exclusive(uint32_t value) {
    uint32_t lane = threadIdx.x & 31;
    uint32_t sum = value;
#pragma unroll
    for (uint32_t delta = 1; delta < 32; delta *= 2) {
        uint32_t other = __shfl_up_sync(MUSTER_FULL_WARP, sum, delta);
        if (lane >= delta) sum += other;
    }
    return sum - value;
}

// Replaces `counts` by the sum of those before, in one block of 1024 threads: for up to some ten thousand counts.
extern "C" __global__ void sort_scan_kernel(uint32_t *counts, uint32_t n) {
    __shared__ uint32_t warp_sums[32];
    uint32_t warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    uint32_t carry = 0;
    for (uint32_t start = 0; start < n; start += 1024) {
        uint32_t i = start + threadIdx.x;
        uint32_t value = i < n ? counts[i] : 0;
        uint32_t before = warp_exclusive(value);
        if (lane == 31) warp_sums[warp] = before + value;
        __syncthreads();
        if (warp == 0) {
            uint32_t total = warp_sums[lane];
            uint32_t earlier = warp_exclusive(total);
            warp_sums[lane] = earlier + total;
        }
        __syncthreads();
        uint32_t earlier = warp == 0 ? 0 : warp_sums[warp - 1];
        if (i < n) counts[i] = carry + earlier + before;
        carry += warp_sums[31];
        __syncthreads();
    }
}

// Writes the pairs in the order of the digit at `shift`; equal digits keep their order.
extern "C" __global__ void sort_scatter_kernel(const uint32_t *keys, const uint32_t *origins, const uint32_t *starts,
                                               uint32_t *keys_out, uint32_t *origins_out, uint32_t n, uint32_t shift,
                                               uint32_t n_tiles) {
    __shared__ uint32_t counts[SORT_WARPS * DIGITS];
    uint32_t warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    for (uint32_t w = 0; w < SORT_WARPS; ++w) counts[w * DIGITS + threadIdx.x] = 0;
    __syncthreads();
    uint32_t start = blockIdx.x * SORT_TILE + warp * (SORT_ITEMS * 32);
    uint32_t rank[SORT_ITEMS];
#pragma unroll
    for (uint32_t item = 0; item < SORT_ITEMS; ++item) {
        uint32_t i = start + item * 32 + lane;
        bool real = i < n;
        uint32_t digit = real ? (keys[i] >> shift) & (DIGITS - 1) : 0;
        uint32_t peers = __ballot_sync(MUSTER_FULL_WARP, real);
#pragma unroll
        for (uint32_t bit = 0; bit < 8; ++bit) {
            uint32_t ones = __ballot_sync(MUSTER_FULL_WARP, (digit >> bit) & 1);
            peers &= ((digit >> bit) & 1) ? ones : ~ones;
        }
        uint32_t before = __popc(peers & ((1u << lane) - 1));
        uint32_t seen = counts[warp * DIGITS + digit];
        rank[item] = seen + before;
        __syncwarp();
        // The first of the peers counts for all of them.
        if (real && before == 0) counts[warp * DIGITS + digit] = seen + __popc(peers);
        __syncwarp();
    }
    __syncthreads();
    // Each thread owns a digit: where the digit's pairs of each warp start.
    uint32_t next = starts[threadIdx.x * n_tiles + blockIdx.x];
    for (uint32_t w = 0; w < SORT_WARPS; ++w) {
        uint32_t count = counts[w * DIGITS + threadIdx.x];
        counts[w * DIGITS + threadIdx.x] = next;
        next += count;
    }
    __syncthreads();
#pragma unroll
    for (uint32_t item = 0; item < SORT_ITEMS; ++item) {
        uint32_t i = start + item * 32 + lane;
        if (i >= n) continue;
        uint32_t key = keys[i];
        uint32_t to = counts[warp * DIGITS + ((key >> shift) & (DIGITS - 1))] + rank[item];
        keys_out[to] = key;
        origins_out[to] = origins[i];
    }
}

// counts[tile]: how many segments start in the tile.
extern "C" __global__ void segment_count_kernel(const uint32_t *keys, uint32_t *counts, uint32_t n) {
    __shared__ uint32_t total;
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    uint32_t start = blockIdx.x * SORT_TILE;
    uint32_t heads = 0;
    for (uint32_t item = 0; item < SORT_ITEMS; ++item) {
        uint32_t i = start + item * SORT_THREADS + threadIdx.x;
        if (i < n && (i == 0 || keys[i] != keys[i - 1])) ++heads;
    }
    if (heads > 0) atomicAdd(&total, heads);
    __syncthreads();
    if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

// For sorted keys: the distinct ones, where their segments start, each origin's segment (where `slots` is given), and
// the number of segments; `tile_starts` is the scan of segment_count_kernel's counts. `starts` gets one more entry, n.
extern "C" __global__ void segment_write_kernel(const uint32_t *keys, const uint32_t *origins,
                                                const uint32_t *tile_starts, uint32_t *unique, uint32_t *starts,
                                                uint32_t *slots, uint32_t *n_segments, uint32_t n) {
    __shared__ uint32_t warp_sums[SORT_WARPS];
    uint32_t warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    uint32_t tile = blockIdx.x * SORT_TILE;
    uint32_t carry = tile_starts[blockIdx.x];
    for (uint32_t item = 0; item < SORT_ITEMS; ++item) {
        uint32_t i = tile + item * SORT_THREADS + threadIdx.x;
        bool real = i < n;
        uint32_t key = real ? keys[i] : 0;
        bool head = real && (i == 0 || key != keys[i - 1]);
        uint32_t heads = __ballot_sync(MUSTER_FULL_WARP, head);
        if (lane == 0) warp_sums[warp] = __popc(heads);
        __syncthreads();
        uint32_t before = carry + __popc(heads & ((1u << lane) - 1));
        for (uint32_t w = 0; w < SORT_WARPS; ++w) {
            if (w < warp) before += warp_sums[w];
            carry += warp_sums[w];
        }
        if (head) {
            unique[before] = key;
            starts[before] = i;
        }
        uint32_t segment = head ? before : before - 1;
        if (real && slots != nullptr) slots[origins[i]] = segment;
        if (real && i == n - 1) {
            starts[segment + 1] = n;
            n_segments[0] = segment + 1;
        }
        __syncthreads();
    }
}
