"""Replays dumped jobs in PyTorch and writes the loss curves that tests/pytorch_curves.rs compares with.

Usage: make_curves.py DUMP_DIR OUT.json   (needs torch; the dump is made by the test under MUSTER_DUMP)
"""

import json
import struct
import sys
from pathlib import Path

import torch


def load(path):
    """Reads a safetensors file of F32 tensors."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        data = torch.frombuffer(bytearray(raw[8 + length + begin : 8 + length + end]), dtype=torch.float32)
        tensors[name] = data.reshape(info["shape"]).clone()
    return tensors


def item_table(folder):
    """Joins the row blocks: row r is row r // S of block r mod S."""
    blocks = [load(path) for path in sorted(folder.glob("table-item-*.safetensors"))]
    rows = sum(block["weight"].shape[0] for block in blocks)
    weight = torch.empty(rows, blocks[0]["weight"].shape[1])
    bias = torch.empty(rows)
    for index, block in enumerate(blocks):
        weight[index :: len(blocks)] = block["weight"]
        bias[index :: len(blocks)] = block["bias"]
    return weight.requires_grad_(), bias.requires_grad_()


def lstm(dense, layers):
    hidden = dense["lstm.weight_hh_l0"].shape[1]
    module = torch.nn.LSTM(dense["lstm.weight_ih_l0"].shape[1], hidden, layers)
    module.load_state_dict({k[5:]: v for k, v in dense.items() if k.startswith("lstm.") and k.count(".") == 1})
    return module


def packed(data, batch_sizes):
    return torch.nn.utils.rnn.PackedSequence(data, torch.tensor(batch_sizes, dtype=torch.int64))


def last_tokens(batch_sizes):
    """Index of the last token of each sequence of a packed batch."""
    last, offset = {}, 0
    for size in batch_sizes:
        last.update({i: offset + i for i in range(size)})
        offset += size
    return [last[i] for i in sorted(last)]


def regression(folder):
    dense = load(folder / "dense.safetensors")
    model = lstm(dense, 2)
    linear = torch.nn.Linear(dense["linear.weight"].shape[1], dense["linear.weight"].shape[0])
    linear.load_state_dict({"weight": dense["linear.weight"], "bias": dense["linear.bias"]})
    optimizer = torch.optim.Adam([*model.parameters(), *linear.parameters()], lr=1e-3)
    width = dense["lstm.weight_ih_l0"].shape[1]
    numeric = open(folder / "numeric.f32", "rb")

    def loss_of(batches):
        loss, count = 0.0, sum(len(batch["labels"]) for batch in batches)
        for batch in batches:
            sizes = batch["batch_sizes"]
            if sizes:
                x = torch.frombuffer(bytearray(numeric.read(4 * width * sum(sizes))), dtype=torch.float32)
                x = x.reshape(sum(sizes), width)
                out = model(packed(x, sizes))[0].data[last_tokens(sizes)]
                loss = loss + (linear(out).flatten() - torch.tensor(batch["labels"])).square().sum()
        return loss / count

    return train(folder, optimizer, loss_of)


def softmax(folder):
    dense = load(folder / "dense.safetensors")
    model = lstm(dense, 1)
    weight, bias = item_table(folder)
    optimizer = torch.optim.Adam([*model.parameters(), weight, bias], lr=1e-3)

    def loss_of(batches):
        loss, count = 0.0, sum(len(batch["targets"]) for batch in batches)
        for batch in batches:
            if batch["batch_sizes"]:
                x = weight[torch.tensor(batch["items"])]
                out = model(packed(x, batch["batch_sizes"]))[0].data
                targets = torch.tensor(batch["targets"])
                loss = loss + torch.nn.functional.cross_entropy(out @ weight.T + bias, targets, reduction="sum")
        return loss / count

    return train(folder, optimizer, loss_of)


def train(folder, optimizer, loss_of):
    losses = []
    for line in open(folder / "batches.jsonl"):
        optimizer.zero_grad()
        loss = loss_of(json.loads(line))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    dump, out = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    curves = {"regression": regression(dump / "regression"), "softmax": softmax(dump / "softmax")}
    curves["torch"] = torch.__version__
    out.write_text(json.dumps(curves, indent=1) + "\n")


main()
