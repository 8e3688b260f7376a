"""Writes golden.json, against which tests/golden.rs holds the ops: python3 make_golden.py > golden.json

Inputs are f32 values; PyTorch computes in f64, so that the whole difference in the test is ours. Tokens are in
the order of PackedSequence.data, which is the order of lstm::Layout.
"""

import json

import torch
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

INPUT, HIDDEN, OUTPUT, LAYERS = 7, 10, 3, 2
BATCH_SIZES = [5, 5, 4, 2, 1, 1]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float32).double()


def flat(tensor):
    # Nine digits bring every f32 back as it was.
    return [float(f"{value:.9g}") for value in tensor.detach().reshape(-1).tolist()]


def regression(with_state):
    """A stack of LSTM layers, an affine layer and the squared error, forward and backward."""
    lstm = torch.nn.LSTM(INPUT, HIDDEN, LAYERS).double()
    linear = torch.nn.Linear(HIDDEN, OUTPUT).double()
    for parameter in [*lstm.parameters(), *linear.parameters()]:
        parameter.data = parameter.data.float().double()
    tokens, sequences = sum(BATCH_SIZES), BATCH_SIZES[0]
    x, target = draw(tokens, INPUT).requires_grad_(), draw(tokens, OUTPUT)
    state = (draw(LAYERS, sequences, HIDDEN), draw(LAYERS, sequences, HIDDEN)) if with_state else None
    hidden = lstm(PackedSequence(x, torch.tensor(BATCH_SIZES)), state)[0].data
    pred = linear(hidden)
    loss = functional.mse_loss(pred, target, reduction="sum")
    loss.backward()
    named = [*lstm.named_parameters(), *((f"linear.{name}", p) for name, p in linear.named_parameters())]
    return {
        "x": flat(x),
        "target": flat(target),
        "h0": flat(state[0]) if with_state else None,
        "c0": flat(state[1]) if with_state else None,
        "parameters": {name: flat(parameter) for name, parameter in named},
        "hidden": flat(hidden),
        "pred": flat(pred),
        "loss": float(loss),
        "d_x": flat(x.grad),
        "d_parameters": {name: flat(parameter.grad) for name, parameter in named},
    }


def clicks():
    """Binary cross-entropy of logits."""
    logits, target = (draw(40) * 6).requires_grad_(), torch.rand(40).round().double()
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    loss.backward()
    return {"logits": flat(logits), "target": flat(target), "loss": float(loss), "d_logits": flat(logits.grad)}


def main():
    torch.manual_seed(7)
    golden = {
        "torch": torch.__version__,
        "sizes": [INPUT, HIDDEN, OUTPUT, LAYERS],
        "batch_sizes": BATCH_SIZES,
        "regression": regression(with_state=False),
        "regression_with_state": regression(with_state=True),
        "clicks": clicks(),
    }
    print(json.dumps(golden, indent=None, separators=(",", ":")))


main()
