//! The optimizers as one plain loop each: the specification of the fast versions.

use super::{Adagrad, Adam, AdamW, RowwiseAdagrad, Sgd};

/// SGD; `buffer` is not touched where `momentum` is 0.
pub fn sgd(spec: &Sgd, params: &mut [f32], grads: &[f32], buffer: &mut [f32]) {
    let (lr, momentum, decay) = (spec.lr as f32, spec.momentum as f32, spec.weight_decay as f32);
    for i in 0..params.len() {
        let mut direction = grads[i] + decay * params[i];
        if spec.momentum != 0.0 {
            buffer[i] = momentum * buffer[i] + direction;
            direction = if spec.nesterov { direction + momentum * buffer[i] } else { buffer[i] };
        }
        params[i] -= lr * direction;
    }
}

/// Adam with L2 weight decay.
pub fn adam(spec: &Adam, step: u64, params: &mut [f32], grads: &[f32], [m, v]: [&mut [f32]; 2]) {
    let correction1 = 1.0 - spec.beta1.powf(step as f64);
    let correction2 = 1.0 - spec.beta2.powf(step as f64);
    let step_size = (spec.lr / correction1) as f32;
    for i in 0..params.len() {
        let grad = grads[i] + spec.weight_decay as f32 * params[i];
        m[i] += (1.0 - spec.beta1) as f32 * (grad - m[i]);
        v[i] = spec.beta2 as f32 * v[i] + (1.0 - spec.beta2) as f32 * (grad * grad);
        let denominator = v[i].sqrt() / correction2.sqrt() as f32 + spec.eps as f32;
        params[i] -= step_size * m[i] / denominator;
    }
}

/// AdamW: the parameters shrink first, then Adam without weight decay.
pub fn adamw(spec: &AdamW, step: u64, params: &mut [f32], grads: &[f32], state: [&mut [f32]; 2]) {
    for p in params.iter_mut() {
        *p *= (1.0 - spec.lr * spec.weight_decay) as f32;
    }
    let AdamW { lr, beta1, beta2, eps, .. } = *spec;
    adam(&Adam { lr, beta1, beta2, eps, weight_decay: 0.0 }, step, params, grads, state);
}

/// Adagrad with one accumulator per element.
pub fn adagrad(spec: &Adagrad, step: u64, params: &mut [f32], grads: &[f32], sum: &mut [f32]) {
    let lr = (spec.lr / (1.0 + (step - 1) as f64 * spec.lr_decay)) as f32;
    for i in 0..params.len() {
        let grad = grads[i] + spec.weight_decay as f32 * params[i];
        sum[i] += grad * grad;
        params[i] -= lr * grad / (sum[i].sqrt() + spec.eps as f32);
    }
}

/// Adagrad with one accumulator per row of `dim`.
pub fn rowwise_adagrad(
    spec: &RowwiseAdagrad,
    dim: usize,
    params: &mut [f32],
    grads: &[f32],
    sum: &mut [f32],
) {
    let decay = spec.weight_decay as f32;
    for r in 0..sum.len() {
        let (p, g) = (&mut params[r * dim..(r + 1) * dim], &grads[r * dim..(r + 1) * dim]);
        let mut lanes = [0.0_f32; super::rowwise::LANES];
        for i in 0..dim {
            let x = g[i] + decay * p[i];
            lanes[i % lanes.len()] += x * x;
        }
        for width in [8, 4, 2, 1] {
            for j in 0..width {
                lanes[j] += lanes[j + width];
            }
        }
        sum[r] += lanes[0] / dim as f32;
        let rate = spec.lr as f32 / (sum[r].sqrt() + spec.eps as f32);
        for i in 0..dim {
            p[i] -= rate * (g[i] + decay * p[i]);
        }
    }
}
