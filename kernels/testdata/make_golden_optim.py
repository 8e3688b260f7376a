"""Writes golden_optim.json: ten steps of each of PyTorch's optimizers on a few parameters.

Run: python make_golden_optim.py > golden_optim.json
"""

import json

import torch

STEPS, SIZE, DIM = 10, 6, 3


def run(make, read):
    torch.manual_seed(1)
    param = torch.nn.Parameter(torch.randn(SIZE))
    start = param.detach().clone()
    grads = torch.randn(STEPS, SIZE)
    optimizer = make([param])
    for grad in grads:
        param.grad = grad.clone()
        optimizer.step()
    state = {name: optimizer.state[param][name].tolist() for name in read}
    return {"start": start.tolist(), "grads": grads.tolist(), "end": param.tolist(), "state": state}


def rowwise_adagrad(lr, eps, weight_decay):
    """FBGEMM's EXACT_ROWWISE_ADAGRAD with L2 weight decay, in f64; PyTorch itself has none."""
    torch.manual_seed(1)
    param = torch.randn(SIZE // DIM, DIM)
    start, grads, total = param.clone(), torch.randn(STEPS, SIZE), torch.zeros(SIZE // DIM, dtype=torch.float64)
    param = param.double()
    for grad in grads:
        grad = grad.double().view_as(param) + weight_decay * param
        total += grad.square().mean(dim=1)
        param -= lr / (total.sqrt() + eps).unsqueeze(1) * grad
    end = param.flatten().tolist()
    return {
        "start": start.flatten().tolist(),
        "grads": grads.tolist(),
        "end": end,
        "state": {"sum": total.tolist()},
    }


moments = ["exp_avg", "exp_avg_sq"]
adam = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8}
golden = {
    "sgd": run(lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.05), []),
    "sgd_momentum": run(
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05), ["momentum_buffer"]
    ),
    "sgd_nesterov": run(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), ["momentum_buffer"]),
    "adam": run(lambda p: torch.optim.Adam(p, **adam), moments),
    "adam_l2": run(lambda p: torch.optim.Adam(p, weight_decay=0.05, **adam), moments),
    "adamw": run(lambda p: torch.optim.AdamW(p, weight_decay=0.05, **adam), moments),
    "adagrad": run(lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.01, eps=1e-10, weight_decay=0.05), ["sum"]),
    "rowwise_adagrad": rowwise_adagrad(0.1, 1e-8, 0.05),
}
print(json.dumps(golden))
