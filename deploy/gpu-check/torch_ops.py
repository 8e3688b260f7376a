"""The shapes of the CUDA bench in PyTorch (and FBGEMM where it is installed), on this machine's GPU.

Usage: torch_ops.py

Prints medians over rounds that each wait for the device, as kernels/benches/cuda does.
"""

import time

import torch

SEQUENCES, STEPS, ROWS, ITEMS, ROUNDS = 4096, 50, 1_000_000, 100_000, 20


def microseconds(call):
    times = []
    for round in range(ROUNDS + 2):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if round >= 2:
            times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2] * 1e6


def row(op, shape, call):
    print(f"| {op} | {shape} | {microseconds(call):.1f} |", flush=True)


def tables(dim):
    n = SEQUENCES * STEPS
    ids = torch.randint(ROWS, (n,), device="cuda")
    table = torch.zeros(ROWS, dim, device="cuda")
    row("nn.functional.embedding", f"{n} ids, dim {dim}", lambda: torch.nn.functional.embedding(ids, table))
    bags = ids.view(SEQUENCES, STEPS)
    pooled = lambda: torch.nn.functional.embedding_bag(bags, table, mode="sum")
    row("nn.functional.embedding_bag", f"{SEQUENCES} bags of {STEPS}, dim {dim}", pooled)
    try:
        from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
            ComputeDevice, EmbeddingLocation, OptimType, SplitTableBatchedEmbeddingBagsCodegen)
    except ImportError:
        return
    fused = SplitTableBatchedEmbeddingBagsCodegen(
        [(ROWS, dim, EmbeddingLocation.DEVICE, ComputeDevice.CUDA)], optimizer=OptimType.EXACT_ROWWISE_ADAGRAD)
    offsets = torch.arange(0, n + 1, STEPS, device="cuda")
    out = fused(ids, offsets)
    grads = torch.rand_like(out)
    row("FBGEMM forward and fused row-wise Adagrad", f"{SEQUENCES} bags of {STEPS}, dim {dim}",
        lambda: fused(ids, offsets).backward(grads))


def lstm(hidden):
    layer = torch.nn.LSTM(hidden, hidden, batch_first=True, device="cuda")
    x = torch.randn(SEQUENCES, STEPS, hidden, device="cuda", requires_grad=True)
    out, _ = layer(x)
    grads = torch.rand_like(out)
    row("nn.LSTM forward and backward", f"{SEQUENCES} x {STEPS}, hidden {hidden}", lambda: layer(x)[0].backward(grads))


def softmax(dim):
    hidden = torch.randn(SEQUENCES, dim, device="cuda", requires_grad=True)
    table = torch.randn(ITEMS, dim, device="cuda", requires_grad=True)
    targets = torch.randint(ITEMS, (SEQUENCES,), device="cuda")
    call = lambda: torch.nn.functional.cross_entropy(hidden @ table.T, targets).backward()
    row("cross_entropy forward and backward", f"{SEQUENCES} positions, {ITEMS} items, dim {dim}", call)


def main():
    for tf32 in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {'TF32' if tf32 else 'f32'} products")
        print("| op | shape | measured, µs |\n|---|---|---|")
        for dim in (64, 128, 256):
            if not tf32:
                tables(dim)
            softmax(dim)
        for hidden in (128, 256, 512):
            lstm(hidden)
    parameters = torch.zeros(4 * ROWS, device="cuda", requires_grad=True)
    parameters.grad = torch.zeros_like(parameters)
    optimizer = torch.optim.Adam([parameters], lr=1e-3, fused=True)
    row("fused Adam", f"{4 * ROWS} parameters", optimizer.step)


if __name__ == "__main__":
    main()
