// What lies between the LSTM's products, fused over the gates i, f, g, o; the formulas of kernels/src/lstm/cell.rs.
#include "cell.cuh"

// `gates` [rows, 4H] holds the products before the bias and receives the activated gates.
template <int V>
__device__ __forceinline__ void cell_forward(float *gates, const float *bias, const float *c_prev, float *c, float *h,
                                             uint32_t rows, uint32_t hidden) {
    uint32_t packs = hidden / V;
    uint32_t item = global_thread();
    if (item >= rows * packs) return;
    uint32_t row = item / packs, k = (item - row * packs) * V;
    float *own = gates + (size_t)row * 4 * hidden + k;
    size_t state = (size_t)row * hidden + k;
    Pack<V> gate[4];
#pragma unroll
    for (int g = 0; g < 4; ++g) gate[g] = load_pack<V>(own + (size_t)g * hidden);
    Pack<V> previous;
    for (int j = 0; j < V; ++j) previous.at[j] = 0.0f;
    if (c_prev != nullptr) previous = load_pack<V>(c_prev + state);
#pragma unroll
    for (int g = 0; g < 4; ++g) add_pack(gate[g], load_pack<V>(bias + g * hidden + k));
    Pack<V> cell, out;
    for (int j = 0; j < V; ++j) {
        Cell result = cell_of(gate[0].at[j], gate[1].at[j], gate[2].at[j], gate[3].at[j], previous.at[j]);
        gate[0].at[j] = result.i;
        gate[1].at[j] = result.f;
        gate[2].at[j] = result.g;
        gate[3].at[j] = result.o;
        cell.at[j] = result.c;
        out.at[j] = result.h;
    }
#pragma unroll
    for (int g = 0; g < 4; ++g) store_pack(own + (size_t)g * hidden, gate[g]);
    store_pack(c + state, cell);
    store_pack(h + state, out);
}

extern "C" __global__ void lstm_cell_forward_kernel(float *gates, const float *bias, const float *c_prev, float *c,
                                                    float *h, uint32_t rows, uint32_t hidden) {
    cell_forward<1>(gates, bias, c_prev, c, h, rows, hidden);
}

extern "C" __global__ void lstm_cell_forward_vec4_kernel(float *gates, const float *bias, const float *c_prev,
                                                         float *c, float *h, uint32_t rows, uint32_t hidden) {
    cell_forward<4>(gates, bias, c_prev, c, h, rows, hidden);
}

// `gates` [rows, 4H] holds the activated gates and receives the gradient before the activations; `d_h_next`
// [next_rows, H] and `d_c` [rows, H] come from the next step, and `d_c` receives the gradient of the previous cell.
template <int V>
__device__ __forceinline__ void cell_backward(float *gates, const float *c_prev, const float *c, const float *d_h,
                                              const float *d_h_next, float *d_c, uint32_t rows, uint32_t next_rows,
                                              uint32_t hidden) {
    uint32_t packs = hidden / V;
    uint32_t item = global_thread();
    if (item >= rows * packs) return;
    uint32_t row = item / packs, k = (item - row * packs) * V;
    float *own = gates + (size_t)row * 4 * hidden + k;
    size_t state = (size_t)row * hidden + k;
    Pack<V> gate[4];
#pragma unroll
    for (int g = 0; g < 4; ++g) gate[g] = load_pack<V>(own + (size_t)g * hidden);
    Pack<V> previous, next, cell = load_pack<V>(c + state), from_above = load_pack<V>(d_h + state);
    Pack<V> from_next = load_pack<V>(d_c + state);
    for (int j = 0; j < V; ++j) previous.at[j] = next.at[j] = 0.0f;
    if (c_prev != nullptr) previous = load_pack<V>(c_prev + state);
    if (row < next_rows) next = load_pack<V>(d_h_next + state);
    for (int j = 0; j < V; ++j) {
        CellGradient d = cell_gradient_of(gate[0].at[j], gate[1].at[j], gate[2].at[j], gate[3].at[j], previous.at[j],
                                          cell.at[j], from_above.at[j] + next.at[j], from_next.at[j]);
        gate[0].at[j] = d.i;
        gate[1].at[j] = d.f;
        gate[2].at[j] = d.g;
        gate[3].at[j] = d.o;
        from_next.at[j] = d.c_prev;
    }
#pragma unroll
    for (int g = 0; g < 4; ++g) store_pack(own + (size_t)g * hidden, gate[g]);
    store_pack(d_c + state, from_next);
}

extern "C" __global__ void lstm_cell_backward_kernel(float *gates, const float *c_prev, const float *c,
                                                     const float *d_h, const float *d_h_next, float *d_c,
                                                     uint32_t rows, uint32_t next_rows, uint32_t hidden) {
    cell_backward<1>(gates, c_prev, c, d_h, d_h_next, d_c, rows, next_rows, hidden);
}

extern "C" __global__ void lstm_cell_backward_vec4_kernel(float *gates, const float *c_prev, const float *c,
                                                          const float *d_h, const float *d_h_next, float *d_c,
                                                          uint32_t rows, uint32_t next_rows, uint32_t hidden) {
    cell_backward<4>(gates, c_prev, c, d_h, d_h_next, d_c, rows, next_rows, hidden);
}

// Each token's previous hidden state, for the gradient of w_hh: `offsets` [steps + 1] is where the steps' tokens start.
// Tokens of the first step get `h0`, or zeros. blockIdx.y is the step.
extern "C" __global__ void lstm_previous_kernel(const float *h, const float *h0, const uint32_t *offsets, float *out,
                                                uint32_t hidden) {
    uint32_t step = blockIdx.y;
    uint32_t start = offsets[step], rows = offsets[step + 1] - start;
    const float *from = step == 0 ? h0 : h + (size_t)offsets[step - 1] * hidden;
    for (size_t i = global_thread(); i < (size_t)rows * hidden; i += (size_t)gridDim.x * blockDim.x) {
        out[(size_t)start * hidden + i] = from == nullptr ? 0.0f : from[i];
    }
}

// b_ih + b_hh.
extern "C" __global__ void lstm_bias_kernel(const float *b_ih, const float *b_hh, float *out, uint32_t n) {
    uint32_t i = global_thread();
    if (i < n) out[i] = b_ih[i] + b_hh[i];
}
