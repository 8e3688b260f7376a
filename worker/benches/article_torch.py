"""Pace of the classic regression in PyTorch on the CPU, beside `benches/train.rs` on deploy/examples/article.

Usage: article_torch.py [--threads N] [--steps N]

LSTM(128 -> 128, 2 layers) -> Linear on the last state, mean squared error, Adam 1e-3, 128 sequences of 50 rows a step.
Set MALLOC_TOP_PAD_, MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ to 2000000000 for PyTorch at its best.
"""

import argparse
import json
import time

import torch


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    lstm = torch.nn.LSTM(128, 128, num_layers=2, batch_first=True)
    linear = torch.nn.Linear(128, 1)
    optimizer = torch.optim.Adam([*lstm.parameters(), *linear.parameters()], lr=1e-3)
    x, y = torch.randn(128, 50, 128), torch.randn(128, 1)
    paces, started = [], None
    for step in range(args.steps + 5):
        if step >= 5 and (step - 5) % 10 == 0:
            now = time.perf_counter()
            if started is not None:
                paces.append(10 / (now - started))
            started = now
        loss = torch.nn.functional.mse_loss(linear(lstm(x)[0][:, -1]), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    paces.append(10 / (time.perf_counter() - started))
    paces.sort()
    print(json.dumps({"threads": args.threads, "median_steps_per_second": paces[len(paces) // 2], "best_steps_per_second": paces[-1]}))


if __name__ == "__main__":
    main()
