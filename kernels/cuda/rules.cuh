// The optimizers' formulas for one element, operation for operation those of kernels/src/optimizer.
#pragma once
#include "prelude.cuh"

struct SgdRule {
    float lr, weight_decay;
    __device__ __forceinline__ float operator()(float param, float grad) const {
        return param - lr * (grad + weight_decay * param);
    }
};

struct MomentumRule {
    float lr, weight_decay, momentum;
    bool nesterov;
    __device__ __forceinline__ float operator()(float param, float grad, float &buffer) const {
        grad = grad + weight_decay * param;
        buffer = momentum * buffer + grad;
        float direction = nesterov ? grad + momentum * buffer : buffer;
        return param - lr * direction;
    }
};

struct AdagradRule {
    float lr, eps, weight_decay;
    __device__ __forceinline__ float operator()(float param, float grad, float &sum) const {
        grad = grad + weight_decay * param;
        sum = sum + grad * grad;
        return param - lr * grad / (sqrtf(sum) + eps);
    }
};

// Adam and, with `keep` below 1, AdamW; the scalars are those of one step.
struct AdamRule {
    float step_size, beta2, one_minus_beta1, one_minus_beta2, correction2_sqrt, eps, l2, keep;
    __device__ __forceinline__ float operator()(float param, float grad, float &m, float &v) const {
        grad = grad + l2 * param;
        m = m + one_minus_beta1 * (grad - m);
        v = beta2 * v + one_minus_beta2 * (grad * grad);
        float denominator = sqrtf(v) / correction2_sqrt + eps;
        return param * keep - step_size * m / denominator;
    }
};

// The same, as loads and stores of V elements see them: none, one or two arrays of state beside the parameters.
template <int V>
struct SgdRows {
    SgdRule rule;
    float *params;
    __device__ __forceinline__ void apply(size_t at, const Pack<V> &grad) const {
        Pack<V> p = load_pack<V>(params + at);
        for (int i = 0; i < V; ++i) p.at[i] = rule(p.at[i], grad.at[i]);
        store_pack(params + at, p);
    }
};

template <int V, class Rule>
struct OneStateRows {
    Rule rule;
    float *params, *state;
    __device__ __forceinline__ void apply(size_t at, const Pack<V> &grad) const {
        Pack<V> p = load_pack<V>(params + at), s = load_pack<V>(state + at);
        for (int i = 0; i < V; ++i) p.at[i] = rule(p.at[i], grad.at[i], s.at[i]);
        store_pack(params + at, p);
        store_pack(state + at, s);
    }
};

template <int V>
struct AdamRows {
    AdamRule rule;
    float *params, *m, *v;
    __device__ __forceinline__ void apply(size_t at, const Pack<V> &grad) const {
        Pack<V> p = load_pack<V>(params + at), first = load_pack<V>(m + at), second = load_pack<V>(v + at);
        for (int i = 0; i < V; ++i) p.at[i] = rule(p.at[i], grad.at[i], first.at[i], second.at[i]);
        store_pack(params + at, p);
        store_pack(m + at, first);
        store_pack(v + at, second);
    }
};
