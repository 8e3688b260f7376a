// Dropout in place with the masks of kernels/src/dropout.rs: a function of (stream, sample, position, element).
#include "philox.cuh"

#define DROPOUT_COUNTERS 8
#define DROPOUT_GROUP 64

// One thread a counter: its eight half-words drop or keep elements counter, counter + 8, and so on of a group of 64.
extern "C" __global__ void dropout_kernel(float *values, const uint64_t *samples, const uint32_t *positions,
                                          uint32_t rows, uint32_t width, uint32_t groups, uint32_t key0, uint32_t key1,
                                          uint32_t threshold, float scale) {
    uint64_t item = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    uint64_t of_row = (uint64_t)groups * DROPOUT_COUNTERS;
    if (item >= of_row * rows) return;
    uint32_t row = (uint32_t)(item / of_row), block = (uint32_t)(item - row * of_row);
    uint32_t first = block / DROPOUT_COUNTERS * DROPOUT_GROUP + block % DROPOUT_COUNTERS;
    if (first >= width) return;
    Words words = philox4x32(key0, key1, samples[row], (uint64_t)positions[row] << 32 | block);
    float *own = values + (size_t)row * width;
#pragma unroll
    for (uint32_t half = 0; half < 8; ++half) {
        uint32_t element = first + half * DROPOUT_COUNTERS;
        if (element >= width) break;
        uint32_t word = words.at[half / 2];
        uint32_t lane = half % 2 == 0 ? word & 0xffffu : word >> 16;
        own[element] = lane < threshold ? 0.0f : own[element] * scale;
    }
}
