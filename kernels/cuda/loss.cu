// Losses on plain predictions, element by element, as kernels/src/loss.rs; `losses` [n] are summed by reduce.cu.
#include "math.cuh"

extern "C" __global__ void mean_squared_error_kernel(const float *pred, const float *target, float *d_pred,
                                                     double *losses, float scale, uint32_t n) {
    uint32_t i = global_thread();
    if (i >= n) return;
    float difference = pred[i] - target[i];
    losses[i] = (double)(difference * difference);
    d_pred[i] = scale * (2.0f * difference);
}

extern "C" __global__ void binary_cross_entropy_kernel(const float *pred, const float *target, float *d_pred,
                                                       double *losses, float scale, uint32_t n) {
    uint32_t i = global_thread();
    if (i >= n) return;
    float x = pred[i], y = target[i];
    float e = exp_of(-fabsf(x));
    float one_more = 1.0f + e;
    float softplus = ln_of(one_more) + (e - (one_more - 1.0f)) / one_more;
    float positive = x > 0.0f ? x : 0.0f;
    losses[i] = (double)(fmaf(x, -y, positive) + softplus);
    d_pred[i] = scale * (sigmoid_of(x) - y);
}
