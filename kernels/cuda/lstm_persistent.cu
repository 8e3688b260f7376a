// The recurrence of an LSTM layer in one launch: each block keeps its part of w_hh in shared memory over all time
// steps and its sums in registers, and blocks meet at a barrier of ours after every step.
//
// A block owns `units` hidden units (all four gates of them) for one of `batch_slices` interleaved sets of sequences.
// A step of a set reads hidden states only of that set, so only the blocks of a set wait for each other. All blocks
// must be resident at once: the launch is cooperative, and the host has checked that they fit.
//
// Sums are chains of fused multiply-adds in order of k, in blocks of KC, as in kernels/src/gemm.rs.
#include "cell.cuh"

#define RECURRENCE_THREADS 256
// k that one accumulator covers; part of the numeric contract.
#define KC 256
// k of the operand that is staged at a time, and its padded row, which keeps float4 reads free of bank conflicts.
#define CHUNK 32
#define CHUNK_ROW (CHUNK + 4)
// Sums of a thread: SEQUENCES sequences times UNITS units, times the rows of the weights per unit.
#define SEQUENCES 4
#define UNITS 2

// What a block knows of its place.
struct Place {
    uint32_t hidden, units, first_unit, slice, batch_slices;
    // Of the thread: units pair and pair + units / 2 of the block, sequences quad + s * quads of a tile.
    uint32_t pair, quad, quads, tile;
};

__device__ __forceinline__ Place place_of(uint32_t hidden, uint32_t units, uint32_t unit_slices,
                                          uint32_t batch_slices) {
    Place at;
    at.hidden = hidden;
    at.units = units;
    at.first_unit = (blockIdx.x % unit_slices) * units;
    at.slice = blockIdx.x / unit_slices;
    at.batch_slices = batch_slices;
    at.pair = threadIdx.x % (units / UNITS);
    at.quad = threadIdx.x / (units / UNITS);
    at.quads = RECURRENCE_THREADS / (units / UNITS);
    at.tile = SEQUENCES * at.quads;
    return at;
}

__device__ __forceinline__ uint32_t local_unit(const Place &at, int u) { return at.pair + u * (at.units / UNITS); }

// Waits until all blocks that share the counter have come here `target / blocks` times; what they wrote before is seen.
__device__ __forceinline__ void meet(uint32_t *counter, uint32_t target) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(counter, 1u);
        while (atomicAdd(counter, 0u) < target) MUSTER_SPIN();
        __threadfence();
    }
    __syncthreads();
}

// Adds operand [rows, depth] times the block's weights to the thread's sums. `weights` [R * units, padded + 4] has the
// R rows of unit u at r * units + u. Rows from `rows` on count as zeros.
template <int R>
__device__ __forceinline__ void add_product(float (&sums)[R][UNITS][SEQUENCES], const Place &at, const float *operand,
                                            uint32_t rows, uint32_t depth, const float *weights, float *staged) {
    uint32_t padded = (depth + 3) / 4 * 4;
    uint32_t weight_row = padded + 4;
    float chain[R][UNITS][SEQUENCES];
    for (uint32_t start = 0; start < depth; start += CHUNK) {
        if (start % KC == 0) {
#pragma unroll
            for (int r = 0; r < R; ++r)
#pragma unroll
                for (int u = 0; u < UNITS; ++u)
#pragma unroll
                    for (int s = 0; s < SEQUENCES; ++s) chain[r][u][s] = 0.0f;
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < at.tile * CHUNK; i += RECURRENCE_THREADS) {
            uint32_t row = i / CHUNK, k = i % CHUNK;
            bool real = row < rows && start + k < depth;
            staged[row * CHUNK_ROW + k] = real ? operand[(size_t)row * depth + start + k] : 0.0f;
        }
        __syncthreads();
        uint32_t width = smaller(CHUNK, padded - start);
        for (uint32_t k = 0; k < width; k += 4) {
            float4 left[SEQUENCES];
#pragma unroll
            for (int s = 0; s < SEQUENCES; ++s) left[s] = load4(staged + (at.quad + s * at.quads) * CHUNK_ROW + k);
#pragma unroll
            for (int r = 0; r < R; ++r) {
#pragma unroll
                for (int u = 0; u < UNITS; ++u) {
                    float4 w = load4(weights + (size_t)(r * at.units + local_unit(at, u)) * weight_row + start + k);
#pragma unroll
                    for (int s = 0; s < SEQUENCES; ++s) {
                        float sum = chain[r][u][s];
                        sum = fmaf(left[s].x, w.x, sum);
                        sum = fmaf(left[s].y, w.y, sum);
                        sum = fmaf(left[s].z, w.z, sum);
                        chain[r][u][s] = fmaf(left[s].w, w.w, sum);
                    }
                }
            }
        }
        if ((start + CHUNK) % KC == 0 || start + CHUNK >= depth) {
#pragma unroll
            for (int r = 0; r < R; ++r)
#pragma unroll
                for (int u = 0; u < UNITS; ++u)
#pragma unroll
                    for (int s = 0; s < SEQUENCES; ++s) sums[r][u][s] = sums[r][u][s] + chain[r][u][s];
        }
    }
}

// Copies the block's rows of w_hh [4H, H] into `weights`: 4 * units rows of H.
__device__ __forceinline__ void keep_forward(const Place &at, const float *w_hh, float *weights) {
    uint32_t row = (at.hidden + 3) / 4 * 4 + 4;
    for (uint32_t i = threadIdx.x; i < 4 * at.units * row; i += RECURRENCE_THREADS) {
        uint32_t r = i / row, k = i % row, gate = r / at.units, unit = at.first_unit + r % at.units;
        bool real = unit < at.hidden && k < at.hidden;
        weights[i] = real ? w_hh[((size_t)gate * at.hidden + unit) * at.hidden + k] : 0.0f;
    }
}

// Copies the block's columns of w_hh [4H, H] into `weights`: `units` rows of 4H.
__device__ __forceinline__ void keep_backward(const Place &at, const float *w_hh, float *weights) {
    uint32_t row = 4 * at.hidden + 4;
    for (uint32_t i = threadIdx.x; i < at.units * row; i += RECURRENCE_THREADS) {
        uint32_t u = i % at.units, k = i / at.units, unit = at.first_unit + u;
        bool real = unit < at.hidden && k < 4 * at.hidden;
        weights[u * row + k] = real ? w_hh[(size_t)k * at.hidden + unit] : 0.0f;
    }
}

// `gates` [tokens, 4H] holds the input's part and receives the activated gates. `counters` [batch_slices] are zeros.
extern "C" __global__ void lstm_persistent_forward_kernel(float *gates, float *c, float *h, const float *w_hh, const float *bias,
                                   const float *h0, const float *c0, const uint32_t *offsets, uint32_t *counters,
                                   uint32_t steps, uint32_t hidden, uint32_t units, uint32_t unit_slices,
                                   uint32_t batch_slices) {
    DYN_SHARED(float, shared);
    Place at = place_of(hidden, units, unit_slices, batch_slices);
    float *weights = shared;
    float *staged = shared + 4 * units * ((hidden + 3) / 4 * 4 + 4);
    keep_forward(at, w_hh, weights);
    for (uint32_t t = 0; t < steps; ++t) {
        uint32_t start = offsets[t], alive = offsets[t + 1] - start;
        size_t before = t == 0 ? 0 : (size_t)offsets[t - 1] * hidden;
        const float *h_prev = t == 0 ? h0 : h + before;
        const float *c_prev = t == 0 ? c0 : c + before;
        for (uint32_t first = at.slice * at.tile; first < alive; first += at.batch_slices * at.tile) {
            float sums[4][UNITS][SEQUENCES];
#pragma unroll
            for (int u = 0; u < UNITS; ++u) {
                uint32_t unit = at.first_unit + local_unit(at, u);
#pragma unroll
                for (int s = 0; s < SEQUENCES; ++s) {
                    uint32_t row = first + at.quad + s * at.quads;
                    bool real = row < alive && unit < hidden;
                    const float *own = gates + (size_t)(start + row) * 4 * hidden + unit;
#pragma unroll
                    for (int g = 0; g < 4; ++g) sums[g][u][s] = real ? own[(size_t)g * hidden] : 0.0f;
                }
            }
            if (h_prev != nullptr) {
                add_product<4>(sums, at, h_prev + (size_t)first * hidden, alive - first, hidden, weights, staged);
            }
#pragma unroll
            for (int u = 0; u < UNITS; ++u) {
                uint32_t unit = at.first_unit + local_unit(at, u);
#pragma unroll
                for (int s = 0; s < SEQUENCES; ++s) {
                    uint32_t row = first + at.quad + s * at.quads;
                    if (row >= alive || unit >= hidden) continue;
                    size_t state = (size_t)(start + row) * hidden + unit;
                    float *own = gates + (size_t)(start + row) * 4 * hidden + unit;
                    float previous = c_prev == nullptr ? 0.0f : c_prev[(size_t)row * hidden + unit];
                    Cell cell = cell_of(sums[0][u][s] + bias[unit], sums[1][u][s] + bias[hidden + unit],
                                        sums[2][u][s] + bias[2 * hidden + unit],
                                        sums[3][u][s] + bias[3 * hidden + unit], previous);
                    own[0] = cell.i;
                    own[(size_t)hidden] = cell.f;
                    own[2 * (size_t)hidden] = cell.g;
                    own[3 * (size_t)hidden] = cell.o;
                    c[state] = cell.c;
                    h[state] = cell.h;
                }
            }
        }
        meet(counters + at.slice, unit_slices * (t + 1));
    }
}

// `gates` [tokens, 4H] holds the activated gates and receives the gradients before the activations; `d_c`
// [sequences, H] and `counters` [batch_slices] are zeros.
extern "C" __global__ void lstm_persistent_backward_kernel(float *gates, const float *c, const float *d_h, float *d_c, const float *w_hh,
                                    const float *c0, const uint32_t *offsets, uint32_t *counters, uint32_t steps,
                                    uint32_t hidden, uint32_t units, uint32_t unit_slices, uint32_t batch_slices) {
    DYN_SHARED(float, shared);
    Place at = place_of(hidden, units, unit_slices, batch_slices);
    float *weights = shared;
    float *staged = shared + units * (4 * hidden + 4);
    keep_backward(at, w_hh, weights);
    for (uint32_t done = 0; done < steps; ++done) {
        uint32_t t = steps - 1 - done;
        uint32_t start = offsets[t], alive = offsets[t + 1] - start;
        uint32_t next_alive = done == 0 ? 0 : offsets[t + 2] - offsets[t + 1];
        const float *c_prev = t == 0 ? c0 : c + (size_t)offsets[t - 1] * hidden;
        const float *next = gates + (size_t)offsets[t + 1] * 4 * hidden;
        for (uint32_t first = at.slice * at.tile; first < alive; first += at.batch_slices * at.tile) {
            float sums[1][UNITS][SEQUENCES];
#pragma unroll
            for (int u = 0; u < UNITS; ++u)
#pragma unroll
                for (int s = 0; s < SEQUENCES; ++s) sums[0][u][s] = 0.0f;
            if (first < next_alive) {
                add_product<1>(sums, at, next + (size_t)first * 4 * hidden, next_alive - first, 4 * hidden, weights,
                               staged);
            }
#pragma unroll
            for (int u = 0; u < UNITS; ++u) {
                uint32_t unit = at.first_unit + local_unit(at, u);
#pragma unroll
                for (int s = 0; s < SEQUENCES; ++s) {
                    uint32_t row = first + at.quad + s * at.quads;
                    if (row >= alive || unit >= hidden) continue;
                    size_t state = (size_t)(start + row) * hidden + unit, of_row = (size_t)row * hidden + unit;
                    float *own = gates + (size_t)(start + row) * 4 * hidden + unit;
                    float previous = c_prev == nullptr ? 0.0f : c_prev[of_row];
                    CellGradient d = cell_gradient_of(own[0], own[(size_t)hidden], own[2 * (size_t)hidden],
                                                      own[3 * (size_t)hidden], previous, c[state],
                                                      d_h[state] + sums[0][u][s], d_c[of_row]);
                    own[0] = d.i;
                    own[(size_t)hidden] = d.f;
                    own[2 * (size_t)hidden] = d.g;
                    own[3 * (size_t)hidden] = d.o;
                    d_c[of_row] = d.c_prev;
                }
            }
        }
        meet(counters + at.slice, unit_slices * (done + 1));
    }
}
