// The optimizers over one flat buffer of dense parameters: four elements a thread, the rest one by one.
#include "rules.cuh"

// `tail` is the same rule, V = 1. A buffer starts at a multiple of 16 bytes.
template <class Four, class One>
__device__ __forceinline__ void update_flat(const float *grads, const float *factor, uint64_t n, const Four &four,
                                            const One &one) {
    uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i >= n) return;
    float scale = factor_or_one(factor);
    if (i + 4 <= n) {
        Pack<4> grad = load_pack<4>(grads + i);
        for (int k = 0; k < 4; ++k) grad.at[k] = grad.at[k] * scale;
        four.apply(i, grad);
        return;
    }
    for (; i < n; ++i) {
        Pack<1> grad = load_pack<1>(grads + i);
        grad.at[0] = grad.at[0] * scale;
        one.apply(i, grad);
    }
}

extern "C" __global__ void optimizer_sgd_kernel(const float *grads, const float *factor, uint64_t n, float *params,
                                                float lr, float weight_decay) {
    SgdRule rule{lr, weight_decay};
    update_flat(grads, factor, n, SgdRows<4>{rule, params}, SgdRows<1>{rule, params});
}

extern "C" __global__ void optimizer_momentum_kernel(const float *grads, const float *factor, uint64_t n,
                                                     float *params, float *buffer, float lr, float weight_decay,
                                                     float momentum, uint32_t nesterov) {
    MomentumRule rule{lr, weight_decay, momentum, nesterov != 0};
    update_flat(grads, factor, n, OneStateRows<4, MomentumRule>{rule, params, buffer},
                OneStateRows<1, MomentumRule>{rule, params, buffer});
}

extern "C" __global__ void optimizer_adagrad_kernel(const float *grads, const float *factor, uint64_t n,
                                                    float *params, float *sum, float lr, float eps,
                                                    float weight_decay) {
    AdagradRule rule{lr, eps, weight_decay};
    update_flat(grads, factor, n, OneStateRows<4, AdagradRule>{rule, params, sum},
                OneStateRows<1, AdagradRule>{rule, params, sum});
}

extern "C" __global__ void optimizer_adam_kernel(const float *grads, const float *factor, uint64_t n, float *params,
                                                 float *m, float *v, float step_size, float beta2,
                                                 float one_minus_beta1, float one_minus_beta2, float correction2_sqrt,
                                                 float eps, float l2, float keep) {
    AdamRule rule{step_size, beta2, one_minus_beta1, one_minus_beta2, correction2_sqrt, eps, l2, keep};
    update_flat(grads, factor, n, AdamRows<4>{rule, params, m, v}, AdamRows<1>{rule, params, m, v});
}
