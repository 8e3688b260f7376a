// One element of the LSTM cell and of its gradient: the formulas of kernels/src/lstm/cell.rs.
#pragma once
#include "math.cuh"

struct Cell {
    float i, f, g, o, c, h;
};

// From the gates before their activation.
__device__ __forceinline__ Cell cell_of(float i, float f, float g, float o, float c_prev) {
    Cell cell;
    cell.i = sigmoid_of(i);
    cell.f = sigmoid_of(f);
    cell.g = tanh_of(g);
    cell.o = sigmoid_of(o);
    cell.c = fmaf(cell.f, c_prev, cell.i * cell.g);
    cell.h = cell.o * tanh_of(cell.c);
    return cell;
}

struct CellGradient {
    float i, f, g, o, c_prev;
};

// From the activated gates; `d_h` is the whole gradient of h, `d_c` what the next step gives to c.
__device__ __forceinline__ CellGradient cell_gradient_of(float i, float f, float g, float o, float c_prev, float c,
                                                         float d_h, float d_c) {
    float tanh_c = tanh_of(c);
    float d_cell = fmaf(d_h * o, fmaf(-tanh_c, tanh_c, 1.0f), d_c);
    CellGradient d;
    d.c_prev = d_cell * f;
    d.i = d_cell * g * i * (1.0f - i);
    d.f = d_cell * c_prev * f * (1.0f - f);
    d.g = d_cell * i * fmaf(-g, g, 1.0f);
    d.o = d_h * tanh_c * o * (1.0f - o);
    return d;
}
