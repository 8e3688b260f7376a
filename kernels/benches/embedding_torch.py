"""Pooled embedding lookup and its backward: this crate, nn.EmbeddingBag and FBGEMM in alternating rounds, one thread.

Run `cargo build --release --benches -p muster-kernels`, then
`python embedding_torch.py TARGET/release/deps/embedding-HASH [ROUNDS]`.
FBGEMM takes part where `fbgemm_gpu` can be imported:
`pip install --no-deps torchrec fbgemm-gpu-cpu` (1.9.0 needs torch 2.14) plus numpy, tensordict, torchmetrics, tqdm.
Prints one JSON line per op with the best and the median round of each, and the ratios of the medians.
"""

import json
import statistics
import subprocess
import sys
import time

import torch

try:
    import fbgemm_gpu  # noqa: F401
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    FBGEMM = True
except (ImportError, OSError):
    FBGEMM = False

ROWS, BAGS, BAG, BATCHES = 1_000_000, 512, 20, 16
LOOKUPS = BAGS * BAG


def batches(seed):
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(0, ROWS, (LOOKUPS,), generator=generator) for _ in range(BATCHES)]
    return ids, torch.arange(0, LOOKUPS + 1, BAG)


def median(calls, work):
    seconds = []
    for call in range(calls):
        start = time.perf_counter()
        work(call)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def torch_round(dim, seed):
    ids, offsets = batches(seed)
    bag = torch.nn.EmbeddingBag(ROWS, dim, mode="sum", include_last_offset=True)
    with torch.no_grad():
        seconds = median(10 * BATCHES, lambda call: bag(ids[call % BATCHES], offsets))
    return {"bag_forward": LOOKUPS / seconds / 1e6}


def fbgemm_round(dim, seed):
    ids, offsets = batches(seed)
    op = SplitTableBatchedEmbeddingBagsCodegen(
        [(ROWS, dim, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        learning_rate=0.01,
        eps=1e-8,
    )
    op.init_embedding_weights_uniform(-0.5, 0.5)
    with torch.no_grad():
        forward = median(10 * BATCHES, lambda call: op(ids[call % BATCHES], offsets))
    backward = []
    grad = torch.full((BAGS, dim), 0.01)
    for call in range(2 * BATCHES):
        out = op(ids[call % BATCHES], offsets)
        start = time.perf_counter()
        out.backward(grad)
        backward.append(time.perf_counter() - start)
    return {
        "bag_forward": LOOKUPS / forward / 1e6,
        "bag_backward_rowwise_adagrad": LOOKUPS / statistics.median(backward) / 1e6,
    }


def muster_round(binary):
    lines = subprocess.run([binary, "--bench", "--rounds", "1"], check=True, capture_output=True, text=True).stdout
    return {(line["op"], line["dim"]): line["m_per_s"] for line in map(json.loads, lines.splitlines())}


def main():
    binary, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    torch.set_num_threads(1)
    rates = {}
    for seed in range(rounds):
        ours = muster_round(binary)
        for dim in (64, 128):
            for op in ("bag_forward", "bag_backward_rowwise_adagrad"):
                rates.setdefault((op, dim, "muster"), []).append(ours[op, dim])
            others = {"torch": torch_round} | ({"fbgemm": fbgemm_round} if FBGEMM else {})
            for name, run in others.items():
                for op, rate in run(dim, seed).items():
                    rates.setdefault((op, dim, name), []).append(rate)
    for dim in (64, 128):
        for op in ("bag_forward", "bag_backward_rowwise_adagrad"):
            found = {name: values for (o, d, name), values in rates.items() if (o, d) == (op, dim)}
            line = {"op": op, "dim": dim, "torch": torch.__version__, "unit": "M lookups/s"}
            for name, values in found.items():
                line[name] = {"median": round(statistics.median(values), 2), "best": round(max(values), 2)}
            for name in found.keys() - {"muster"}:
                line[f"ratio_{name}"] = round(line["muster"]["median"] / line[name]["median"], 2)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
