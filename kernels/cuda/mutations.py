#!/usr/bin/env python3
"""Plants faults in the kernels and their host code, one at a time, and shows which check catches each.

    mutations.py              all faults; on two cores about half a minute each
    mutations.py NAME...      those whose name contains one of the words

The tests are kernels/tests/cuda_*.rs and worker/tests/cuda_*.rs, unchanged: every stream mode, three orders of threads, both sanitizers. Exit
code 1 where a fault is not caught. Nothing in the working tree is touched: kernels are changed in a copy that the tests
are told of (MUSTER_KERNELS), host code in a copy of the workspace.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent

# (name, file, old text, new text, test file, test): the first occurrence of the old text is replaced.
KERNEL_FAULTS = [
    ("histogram not cleared in time", "sort.cu", "histogram[threadIdx.x] = 0;\n    __syncthreads();",
     "histogram[threadIdx.x] = 0;", "cuda_embedding", "segments"),
    ("scan's carry read too late", "sort.cu", "carry += warp_sums[31];\n        __syncthreads();",
     "carry += warp_sums[31];", "cuda_embedding", "segments"),
    ("unstable sort", "sort.cu", "__popc(peers & ((1u << lane) - 1));\n        uint32_t seen",
     "__popc(peers >> lane) - 1;\n        uint32_t seen", "cuda_embedding", "every_rule"),
    ("warp's counts raced", "sort.cu", "rank[item] = seen + before;\n        __syncwarp();",
     "rank[item] = seen + before;", "cuda_embedding", "segments"),
    ("segment heads raced", "sort.cu", "            n_segments[0] = segment + 1;\n        }\n        __syncthreads();",
     "            n_segments[0] = segment + 1;\n        }", "cuda_embedding", "segments"),
    ("a stretch left out", "embedding_update.cu", "stretch = first + 1; stretch <= last",
     "stretch = first + 2; stretch <= last", "cuda_embedding", "popular"),
    ("gradient added twice", "embedding_update.cu", "uint32_t at = start + 1;", "uint32_t at = start;",
     "cuda_embedding", "every_rule"),
    ("row's gradient read before it is whole", "embedding_update.cu",
     "store_pack(own + column, grad);\n    }\n    __syncwarp();", "store_pack(own + column, grad);\n    }",
     "cuda_embedding", "every_rule"),
    ("two warps share a row of shared memory", "embedding_update.cu", "(size_t)warp * ((g.dim + 3) / 4 * 4)",
     "(size_t)warp * (g.dim / 2 / 4 * 4)", "cuda_embedding", "every_rule"),
    ("bag one id too long", "embedding.cu", "for (; at < end; ++at)", "for (; at <= end; ++at)",
     "cuda_embedding", "pooled"),
    ("ids read past their end", "embedding.cu", "from[r] = row < n_ids ? (size_t)ids[row] * dim : 0;",
     "from[r] = (size_t)ids[row] * dim;", "cuda_embedding", "copies"),
    ("misaligned vector", "embedding.cu", "value[r] = load_pack<V>(table + from[r] + column);",
     "value[r] = load_pack<V>(table + from[r] + (V == 4 ? column ^ 1 : column));", "cuda_embedding", "copies"),
    ("a sequence too many has a next step", "lstm_pointwise.cu", "if (row < next_rows) next",
     "if (row <= next_rows) next", "cuda_lstm", "both"),
    ("derivative of the sigmoid", "cell.cuh", "d.i = d_cell * g * i * (1.0f - i);", "d.i = d_cell * g * i;",
     "cuda_lstm", "both"),
    ("grid barrier does not wait", "lstm_persistent.cu", "while (atomicAdd(counter, 0u) < target) MUSTER_SPIN();", ";",
     "cuda_lstm", "both"),
    ("grid barrier waits for one step less", "lstm_persistent.cu", "meet(counters + at.slice, unit_slices * (t + 1));",
     "meet(counters + at.slice, unit_slices * t);", "cuda_lstm", "both"),
    ("block signals before it is done", "lstm_persistent.cu", "uint32_t target) {\n    __syncthreads();",
     "uint32_t target) {", "cuda_lstm", "both"),
    ("staged operand overwritten early", "lstm_persistent.cu", "        __syncthreads();\n        for (uint32_t i = threadIdx.x; i < at.tile",
     "        for (uint32_t i = threadIdx.x; i < at.tile", "cuda_lstm", "long_chain"),
    ("rows of other sequences staged", "lstm_persistent.cu", "bool real = row < rows && start + k < depth;",
     "bool real = start + k < depth;", "cuda_lstm", "both"),
    ("softmax without the maximum", "softmax.cu", "exp_of(logit - highest) * scale", "exp_of(logit) * scale",
     "cuda_softmax", "large"),
    ("statistics of warps read early", "softmax.cu", "warps[threadIdx.x >> 5] = own;\n    __syncthreads();",
     "warps[threadIdx.x >> 5] = own;", "cuda_softmax", "two_shards"),
    ("operands cut off instead of rounded", "bf16.cu", "first = __bfloat16_as_ushort(__float2bfloat16_rn(low))",
     "first = __float_as_uint(low) >> 16", "cuda_elementwise", "bfloat16"),
    ("last operands left out", "bf16.cu", "for (uint64_t i = first; i < n; ++i)", "for (uint64_t i = first; i + 1 < n; ++i)",
     "cuda_elementwise", "bfloat16"),
    ("rounded gradient of the wrong row", "softmax.cu", "rounded[first + v] =", "rounded[first + (v ^ 1)] =",
     "cuda_softmax", "rounded_operands"),
    ("target not taken off", "softmax.cu", "if (v == target) gradient = gradient - weight;", "",
     "cuda_softmax", "two_shards"),
    ("maximum overwritten early", "sampled_softmax.cu", "max = lanes[0];\n    __syncthreads();", "max = lanes[0];",
     "cuda_softmax", "sampled"),
    ("barrier in one arm of an if", "sampled_softmax.cu", "if (threadIdx.x < 32) {", "if (threadIdx.x < 32) {\n        __syncthreads();",
     "cuda_softmax", "sampled"),
    ("shuffle without its upper lanes", "sampled_softmax.cu",
     "    return __shfl_sync(MUSTER_FULL_WARP, sum, 0);", "    return lane < DOT_LANES ? __shfl_sync(MUSTER_FULL_WARP, sum, 0) : sum;",
     "cuda_softmax", "single"),
    ("wrong word of Philox", "dropout.cu", "words.at[half / 2]", "words.at[half % 4]", "cuda_elementwise", "dropout"),
    ("nine rounds of Philox", "philox.cuh", "round < 10", "round < 9", "cuda_elementwise", "dropout"),
    ("vector over the end", "optimizer.cu", "if (i + 4 <= n) {", "if (i < n) {", "cuda_elementwise", "dense"),
    ("lanes of a norm raced", "norm.cu", "lanes[threadIdx.x] + lanes[threadIdx.x + width];\n        __syncthreads();",
     "lanes[threadIdx.x] + lanes[threadIdx.x + width];", "cuda_elementwise", "norm"),
    ("column sums forget what was there", "reduce.cu", "accumulate != 0 ? sums[column] + total : total", "total",
     "cuda_elementwise", "columns"),
    ("counts of owners off by one", "exchange.cu", "sorted_owners[middle] < owner + side",
     "sorted_owners[middle] <= owner + side", "cuda_elementwise", "packed"),
]

HOST_FAULTS = [
    ("counters not cleared", "lstm/forward.rs", "device.zeros(placement.batch_slices as usize)?",
     "device.buffer(placement.batch_slices as usize)?", "cuda_lstm", "both"),
    ("cell's gradient not cleared", "lstm/backward.rs", "device.zeros(layout.sequences() * size)?",
     "device.buffer(layout.sequences() * size)?", "cuda_lstm", "both"),
    ("an argument left out", "reduce.rs", ".value(u32::from(beta == Beta::Accumulate))\n", "\n",
     "cuda_elementwise", "columns"),
    ("vectors where rows are not aligned", "embedding/gather.rs", "dim.is_multiple_of(4) && stride.is_multiple_of(4) && ", "dim >= 4 && ",
     "cuda_embedding", "copies"),
    ("shared memory not asked for", "module.rs", "if bytes <= *allowed {", "if bytes > 0 {", "cuda_lstm", "both"),
    ("page-locked memory rewritten under its copy", "pinned.rs", "if let Some(event) = self.copied.take() {",
     "if let Some(event) = self.copied.take().filter(|_| false) {", "cuda_runtime", "page_locked"),
    ("ids taken before they are there", "prefetch.rs", "wait_for(&self.streams.compute, &copied)", "Ok(())",
     "cuda_runtime", "sent_ahead"),
    ("ids overwritten before they are taken", "prefetch.rs", "self.taken.take() {", "self.taken.take().filter(|_| false) {",
     "cuda_runtime", "sent_ahead"),
    ("ids' memory used before its last owner is through", "prefetch.rs", "self.streams.copies_wait_for_compute()", "Ok(())",
     "cuda_runtime", "sent_ahead"),
    ("collective does not wait for the computation", "nccl.rs", "self.streams.communication_waits_for_compute()",
     "Ok(())", "cuda_runtime", "one_rank"),
    ("computation does not wait for the collective", "nccl.rs", "self.streams.compute_waits_for_communication()",
     "Ok(())", "cuda_runtime", "bucket"),
    ("NCCL's errors not asked for", "nccl/watch.rs", "&& let Some(Err(error)) = raw.as_ref().map(Raw::is_settled)",
     "&& let Some(Err(error)) = raw.as_ref().map(Raw::is_settled).filter(|_| false)", "cuda_nccl", "killed_amid"),
    ("word to stop not asked for", "nccl/watch.rs", "if let Some(reason) = (self.guard.cancelled)() {",
     "if let Some(reason) = (self.guard.cancelled)().filter(|_| false) {", "cuda_nccl", "another_thread"),
    ("overdue collective kept waiting", "nccl/watch.rs", "return late.then_some(", "return (late && false).then_some(",
     "cuda_nccl", "does_not_notice"),
    ("abort without a bound", "nccl/watch.rs", "Sentinel::start(ending, stuck, self.over.clone())", "(ending, stuck)",
     "cuda_nccl", "own_code"),
    ("bucket summed before it is computed", "nccl.rs", "self.streams.communication_waits_for_compute()",
     "Ok(())", "cuda_runtime", "still_computed"),
    ("sums of a step not waited for", "worker/src/cuda/step.rs", "        self.join_sums()?;\n", "", "cuda_nccl", "beside"),
    ("bucket sent a layer too early", "worker/src/cuda/buckets.rs", "lowest >= done", "lowest + 1 >= done", "cuda_nccl", "beside"),
    ("evicted rows not sent home", "row_cache.rs", "        self.write_back(device, &rows, &slots, host)\n    }\n\n    fn write_back",
     "        Ok(())\n    }\n\n    fn write_back", "cuda_row_cache", "come_back"),
    ("rows without room dropped", "row_cache.rs", "            take_home(device, &picked(device, from.view(), *width, &left_at)?, left, column, host)?;\n",
     "", "cuda_row_cache", "come_back"),
    ("partial sums left out", "embedding/update.rs", "if stretches <= 1 {", "if stretches <= 2 {",
     "cuda_embedding", "popular"),
]

# How a failed mode's output tells which check spoke, in this order.
CHECKS = [
    ("tsan", r"ThreadSanitizer"),
    ("asan", r"AddressSanitizer"),
    ("ubsan", r"runtime error:"),
    ("signature", r"arguments of \w+_kernel"),
    ("double", r"muster-double: (?!report)|CUDA driver: "),
    ("time", r"after \d+ s|too long|deadline"),
    ("wrong", r"expected|left ==|panicked"),
]


def executables(root, environment, package="muster-kernels"):
    """Builds the tests of a package and returns the path of each."""
    command = ["cargo", "test", "--package", package, "--no-run", "--message-format", "json", "--tests"]
    built = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit(f"mutations: the tests do not build\n{built.stderr[-3000:]}")
    found = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable"):
            found[message["target"]["name"]] = message["executable"]
    return found


def caught_by(executable, test, environment):
    """Runs a test; returns how each failed mode shows the fault."""
    done = subprocess.run([executable, test], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0:
        return {}
    caught = {}
    parts = re.split(r"^== (.*)$", done.stdout, flags=re.M)
    for mode, output in zip(parts[1::2], parts[2::2]):
        # "Plain, seed 1, Async" and the like.
        mode = " ".join(mode.split(", ")[1 if mode.startswith("Plain") else 0 :])
        checks = [name for name, pattern in CHECKS if re.search(pattern, output)]
        caught.setdefault(checks[0] if checks else "crash", []).append(mode)
    return caught or {"build" if "does not compile" in done.stdout else "test": ["all"]}


def replaced(path, old, new):
    text = path.read_text()
    if old not in text:
        sys.exit(f"mutations: {path.name} has no {old!r} any more")
    path.write_text(text.replace(old, new, 1))


def report(name, place, caught):
    ways = "; ".join(f"{check} ({', '.join(modes)})" for check, modes in caught.items())
    print(f"{'caught ' if caught else 'MISSED '} {name} [{place}]: {ways or 'nothing'}", flush=True)
    return bool(caught)


def kernel_faults(faults):
    if not faults:
        return
    tests = executables(ROOT, os.environ)
    for name, file, old, new, binary, test in faults:
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            for source in [*FOLDER.glob("*.cu"), *FOLDER.glob("*.cuh")]:
                shutil.copy(source, folder)
            replaced(folder / file, old, new)
            environment = {**os.environ, "MUSTER_KERNELS": str(folder)}
            yield report(name, file, caught_by(tests[binary], test, environment))


def host_faults(faults):
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch) / "workspace"
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        for path in listed.stdout.decode().split("\0"):
            if path and (ROOT / path).is_file():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                # With the time of the copy: what an earlier run built with a fault is then older than the source.
                shutil.copy(ROOT / path, root / path)
        # A folder of its own: in a shared one, cargo would take what was built with a fault for the product.
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "mutations"
        environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
        for name, file, old, new, binary, test in faults:
            of_worker = file.startswith("worker/")
            path = root / file if of_worker else root / "kernels" / "src" / "cuda" / file
            whole = path.read_text()
            replaced(path, old, new)
            tests = executables(root, environment, "muster-worker" if of_worker else "muster-kernels")
            yield report(name, str(path.relative_to(root)), caught_by(tests[binary], test, environment))
            path.write_text(whole)


def main():
    words = sys.argv[1:]
    wanted = lambda faults: [fault for fault in faults if not words or any(word in fault[0] for word in words)]
    results = []
    for run, faults in [(kernel_faults, KERNEL_FAULTS), (host_faults, HOST_FAULTS)]:
        if wanted(faults):
            results += run(wanted(faults))
    print(f"{sum(results)} of {len(results)} faults caught")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
