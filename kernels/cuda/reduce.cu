// Sums of a fixed order: the columns of a matrix, and one buffer onto another.
#include "prelude.cuh"

// Rows that one chain covers; part of the numeric contract (kernels/src/reduce/columns.rs).
#define KC 256

// partials [blocks of KC rows, cols] = the sums of the block's rows, in order. blockIdx.y is the block.
extern "C" __global__ void column_sums_partial_kernel(const float *rows, float *partials, uint32_t n_rows,
                                                      uint32_t cols) {
    uint32_t column = global_thread();
    if (column >= cols) return;
    uint32_t start = blockIdx.y * KC, end = smaller(start + KC, n_rows);
    float sum = 0.0f;
#pragma unroll 8
    for (uint32_t row = start; row < end; ++row) sum = sum + rows[(size_t)row * cols + column];
    partials[(size_t)blockIdx.y * cols + column] = sum;
}

// sums [cols] = the partials added up in their order, or that added to what `sums` holds.
extern "C" __global__ void column_sums_combine_kernel(const float *partials, float *sums, uint32_t blocks,
                                                      uint32_t cols, uint32_t accumulate) {
    uint32_t column = global_thread();
    if (column >= cols) return;
    float total = partials[column];
    for (uint32_t block = 1; block < blocks; ++block) total = total + partials[(size_t)block * cols + column];
    sums[column] = accumulate != 0 ? sums[column] + total : total;
}

// into += from.
extern "C" __global__ void add_assign_kernel(float *into, const float *from, uint64_t n) {
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) into[i] = into[i] + from[i];
}

// values *= factor[0].
extern "C" __global__ void scale_kernel(float *values, const float *factor, uint64_t n) {
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] = values[i] * factor[0];
}

// rows [n, cols] += row [cols].
extern "C" __global__ void add_row_kernel(float *rows, const float *row, uint32_t n, uint32_t cols) {
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < (uint64_t)n * cols) rows[i] = rows[i] + row[i % cols];
}

extern "C" __global__ void fill_kernel(float *values, float value, uint64_t n) {
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] = value;
}
