"""How long torchrun's elastic workers take from `kill -9` of one to the next training step, beside `muster chaos`.

Usage: recovery_torchrun.py [--workers 4] [--kills 10] [--pair] [--static] [--share-store] [--out DIR]

An embedding of 12,101 rows of 128 and an LSTM of 128 (the Beauty model's size), DDP over gloo, Adam, a checkpoint every
20 steps. Workers note each step and when they made it; the driver kills one (two with --pair) at random, and waits until
a step is noted that is newer than all before the kill. The default is torchrun's best setting: rendezvous by c10d with a
store of its own. --share-store: c10d as it comes. --static: torchrun as it comes. A kill after which no new step is made
within 60 seconds counts as not recovered, and the run is started anew.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROWS, DIM, BATCH, LENGTH, EVERY = 12_101, 128, 128, 20, 20
PATIENCE = 60.0


def work(folder):
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.items = nn.Embedding(ROWS, DIM)
            self.lstm = nn.LSTM(DIM, DIM, batch_first=True)

        def forward(self, ids):
            hidden, _ = self.lstm(self.items(ids))
            return hidden[:, -1] @ self.items.weight.T

    model = DistributedDataParallel(Model())
    optimizer = torch.optim.Adam(model.parameters())
    saved, step = os.path.join(folder, "checkpoint.pt"), 0
    if os.path.exists(saved):
        state = torch.load(saved)
        step = state["step"]
        model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    log = open(os.path.join(folder, f"steps-{rank}.jsonl"), "a")
    while True:
        generator = torch.Generator().manual_seed(step * world + rank)
        ids = torch.randint(ROWS, (BATCH // world, LENGTH + 1), generator=generator)
        loss = nn.functional.cross_entropy(model(ids[:, :-1]), ids[:, -1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        log.write(json.dumps({"pid": os.getpid(), "step": step, "time": time.time()}) + "\n")
        log.flush()
        if rank == 0 and step % EVERY == 0:
            state = {"step": step, "model": model.module.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, saved + ".new")
            os.replace(saved + ".new", saved)


def notes(folder, rank):
    path = os.path.join(folder, f"steps-{rank}.jsonl")
    lines = open(path).read().splitlines() if os.path.exists(path) else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def wait(condition, patience):
    deadline = time.time() + patience
    while time.time() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    return None


def start(args, folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={args.workers}"]
    command += [f"--max-restarts={3 * args.kills}", "--monitor-interval=0.1"]
    if args.static:
        command += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    else:
        command += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    if not args.static and not args.share_store:
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    output = open(os.path.join(folder, "output.txt"), "ab")
    command += [__file__, "--work", folder]
    return subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)


def end(args, folder, process):
    """Workers are in sessions of their own, and outlive an agent that is killed."""
    process.kill()
    process.wait()
    for rank in range(args.workers):
        for pid in {note["pid"] for note in notes(folder, rank)}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pair", action="store_true")
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--share-store", action="store_true")
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.work:
        return work(args.work)
    folder = args.out or tempfile.mkdtemp(prefix="torchrun-")
    os.makedirs(folder, exist_ok=True)
    random.seed(1)
    process, times, redone, lost = start(args, folder), [], [], 0
    for _ in range(args.kills):
        running = wait(lambda: len(notes(folder, 0)) and notes(folder, 0)[-1], PATIENCE)
        assert running, f"no step was made, see {folder}/output.txt"
        before = running["step"]
        wait(lambda: notes(folder, 0)[-1]["step"] >= before + 30, PATIENCE)
        reached = notes(folder, 0)[-1]["step"]
        for rank in random.sample(range(args.workers), 2 if args.pair else 1):
            os.kill(notes(folder, rank)[-1]["pid"], signal.SIGKILL)
        killed = time.time()
        newer = lambda: [note for note in notes(folder, 0) if note["time"] > killed and note["step"] > reached + 1]
        first = wait(newer, PATIENCE)
        if first:
            times.append(first[0]["time"] - killed)
            again = [note["step"] for note in notes(folder, 0) if note["time"] > killed]
            redone.append(max(0, reached - min(again) + 1))
        else:
            lost += 1
            end(args, folder, process)
            process = start(args, folder)
            wait(lambda: notes(folder, 0)[-1]["time"] > killed + PATIENCE, PATIENCE)
    end(args, folder, process)
    found = {"recovered": len(times), "of": args.kills, "workers": args.workers}
    if times:
        found |= {"median_seconds": round(statistics.median(times), 2), "min": round(min(times), 2)}
        found |= {"max": round(max(times), 2), "steps_redone_median": statistics.median(redone)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
