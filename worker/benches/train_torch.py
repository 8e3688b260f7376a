"""Throughput of the Beauty model in PyTorch on the CPU, beside benches/train.rs.

Usage: train_torch.py Beauty.txt [--threads N] [--steps N] [--plain] [--bf16]

Embedding(items, 128) -> LSTM(128) -> tied output with bias, full softmax at real positions, Adam, 128 sequences a step.
At its best (the default): sequences are bucketed by length, the loss is a sum over a constant. `--plain`: random batches
padded to their longest sequence. `--bf16`: the output products in bf16, weights and softmax in f32. Set MALLOC_TOP_PAD_,
MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ to 2000000000 so that glibc keeps its blocks, as the best setting does.
"""

import argparse
import json
import random
import time

import torch


def sequences(path):
    rows = (list(map(int, line.split()))[1:] for line in open(path))
    return [row[:-2][-51:] for row in rows if len(row) >= 4]


def batches(rows, plain):
    order = list(range(len(rows)))
    random.shuffle(order)
    if not plain:
        order.sort(key=lambda i: len(rows[i]))
    groups = [order[i : i + 128] for i in range(0, len(order), 128)]
    random.shuffle(groups)
    for group in groups:
        group = [torch.tensor(rows[i]) for i in group]
        yield torch.nn.utils.rnn.pad_sequence(group, batch_first=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    random.seed(1)
    rows = sequences(args.file)
    items = max(map(max, rows)) + 1
    table = torch.nn.Parameter(torch.randn(items, 128) * 0.05)
    bias = torch.nn.Parameter(torch.zeros(items))
    lstm = torch.nn.LSTM(128, 128, batch_first=True)
    optimizer = torch.optim.Adam([table, bias, *lstm.parameters()], lr=2e-3)
    step, rates, tokens, started = 0, [], 0, time.perf_counter()
    while step < args.steps:
        for batch in batches(rows, args.plain):
            x, y = batch[:, :-1], batch[:, 1:]
            real = y > 0
            hidden = lstm(torch.nn.functional.embedding(x, table))[0][real]
            if args.bf16:
                logits = (hidden.bfloat16() @ table.bfloat16().T).float() + bias
            else:
                logits = torch.addmm(bias, hidden, table.T)
            loss = torch.nn.functional.cross_entropy(logits, y[real], reduction="sum") / 750.0
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tokens += int(real.sum())
            step += 1
            if step % 10 == 0:
                now = time.perf_counter()
                if step > 10:
                    rates.append(tokens / (now - started))
                tokens, started = 0, now
            if step >= args.steps:
                break
    rates.sort()
    print(json.dumps({"torch": torch.__version__, "threads": args.threads, "plain": args.plain, "bf16": args.bf16,
                      "median_tokens_per_second": rates[len(rates) // 2], "best": rates[-1]}))


main()
