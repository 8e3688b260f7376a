"""Holds all_reduce between local processes against OpenMPI and gloo: alternating rounds, medians, ratios.

Needs cargo, mpicc and mpirun (Debian: openmpi-bin libopenmpi-dev) and PyTorch with gloo:

    python3 worker/collective/benches/compare.py --rounds 7

The rule: ours is at least as fast as the slower of OpenMPI and twice gloo. Exits with 1 where it is broken.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MIB = 1 << 20


def main():
    arguments = parse()
    if arguments.gloo_rank is not None:
        return gloo_rank(arguments)
    with tempfile.TemporaryDirectory() as folder:
        contenders = build(arguments, Path(folder))
        seconds = measure(arguments, contenders)
    return 0 if report(arguments, seconds) else 1


def parse():
    numbers = lambda text: [int(word) for word in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ranks", type=numbers, default=[2, 4])
    parser.add_argument("--bytes", type=numbers, default=[1 << 10, MIB, 16 * MIB, 64 * MIB])
    parser.add_argument("--binary", help="the built benchmark, instead of building it")
    parser.add_argument("--gloo-rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    return parser.parse_args()


def build(arguments, folder):
    """The commands to run, by name: each takes ranks and sizes, and prints a JSON object per figure."""
    binary = arguments.binary or cargo_bench()
    mpi = folder / "mpi_allreduce"
    subprocess.run(["mpicc", "-O3", "-o", mpi, HERE / "mpi_allreduce.c"], check=True)
    sizes = ",".join(map(str, arguments.bytes))

    def muster(ranks):
        return run([binary, "--ranks", str(ranks), "--bytes", sizes])

    def openmpi(ranks):
        options = ["--allow-run-as-root", "--oversubscribe", "-n", str(ranks)]
        return run(["mpirun", *options, mpi, *map(str, arguments.bytes)])

    def gloo(ranks):
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, "-W", "ignore", __file__, "--ranks", str(ranks), "--bytes", sizes]
            command += ["--store", f"{place}/store", "--gloo-rank"]
            others = [subprocess.Popen([*command, str(rank)]) for rank in range(1, ranks)]
            lines = run([*command, "0"])
            assert all(other.wait() == 0 for other in others), "a gloo rank failed"
            return lines

    return {"muster": muster, "openmpi": openmpi, "gloo": gloo}


def cargo_bench():
    command = ["cargo", "bench", "-p", "muster-collective", "--bench", "all_reduce", "--no-run"]
    output = subprocess.run([*command, "--message-format=json"], check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines()]
    return [message["executable"] for message in messages if message.get("executable")][-1]


def run(command):
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def measure(arguments, contenders):
    """Seconds per call of every round, by (contender, op, ranks, bytes)."""
    seconds = {}
    for round in range(arguments.rounds):
        for ranks in arguments.ranks:
            for name, contender in contenders.items():
                for line in contender(ranks):
                    key = (name, line["op"], ranks, line["bytes"])
                    seconds.setdefault(key, []).append(line["seconds"])
        print(f"round {round + 1} of {arguments.rounds}", file=sys.stderr)
    return seconds


def report(arguments, seconds):
    print("Median seconds per call, GB/s = bytes / seconds; bar = min(OpenMPI, 2 x gloo) in GB/s.\n")
    print("| ranks | bytes | muster | GB/s | tree | GB/s | OpenMPI | GB/s | gloo | GB/s | of OpenMPI | of gloo | of bar |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    holds = True
    for ranks in arguments.ranks:
        for size in arguments.bytes:
            median = lambda name, op="all_reduce": statistics.median(seconds[name, op, ranks, size])
            times = [median("muster"), median("muster", "all_reduce_tree"), median("openmpi"), median("gloo")]
            ours, tree, openmpi, gloo = (size / time / 1e9 for time in times)
            bar = min(openmpi, 2 * gloo)
            # The rule is about bandwidth; the small size is there for its latency.
            holds &= size < MIB or ours >= bar
            cells = [f"{time:.3e} | {size / time / 1e9:.2f}" for time in times]
            ratios = f"{ours / openmpi:.2f} | {ours / gloo:.2f} | {ours / bar:.2f}"
            print(f"| {ranks} | {size} | {' | '.join(cells)} | {ratios} |")
    print(f"\nThe rule {'holds' if holds else 'is broken'} at every size from 1 MiB.")
    return holds


def gloo_rank(arguments):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    [ranks] = arguments.ranks
    store = f"file://{arguments.store}"
    dist.init_process_group("gloo", init_method=store, rank=arguments.gloo_rank, world_size=ranks)
    for size in arguments.bytes:
        calls = max(3, min(2000, 128 * MIB // size))
        data = torch.zeros(size // 4)
        for _ in range(min(calls, 5)):
            dist.all_reduce(data)
        dist.barrier()
        started = time.perf_counter()
        for _ in range(calls):
            dist.all_reduce(data)
        slowest = torch.tensor([(time.perf_counter() - started) / calls], dtype=torch.float64)
        dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
        if arguments.gloo_rank == 0:
            print(json.dumps({"op": "all_reduce", "n": ranks, "bytes": size, "seconds": slowest.item()}), flush=True)
    dist.barrier()
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
