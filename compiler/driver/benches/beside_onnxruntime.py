"""Simulation beside one dense inference in onnxruntime, on the same cores: prints the ratio for each network.

    python compiler/driver/benches/beside_onnxruntime.py [FOLDER]

Makes the networks in FOLDER (default: a temporary one), times onnxruntime on two threads, runs the bench `simulate`,
and divides. Needs onnxruntime.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

NETWORKS = ["alexnet", "googlenet", "vgg16"]
RUNS = 15
UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        missing = [name for name in NETWORKS if not (folder / f"{name}.onnx").exists()]
        if missing:
            command = ["cargo", "run", "--release", "--quiet", "--", "zoo", "make", "-q", "-o", str(folder)]
            subprocess.run(command + missing, check=True)
        dense = {name: dense_seconds(folder, name) for name in NETWORKS}
    exact, fast = simulated_seconds("exact"), simulated_seconds("fast")
    print(f"{'network':12}{'onnxruntime':>14}{'exact':>10}{'ratio':>8}{'fast':>10}{'ratio':>8}")
    for name, seconds in dense.items():
        print(
            f"{name:12}{seconds * 1e3:11.0f} ms"
            f"{exact[name] * 1e3:7.0f} ms{exact[name] / seconds:7.1f}x"
            f"{fast[name] * 1e3:7.0f} ms{fast[name] / seconds:7.1f}x"
        )


def dense_seconds(folder: Path, name: str) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
    feed = {"data": np.load(folder / f"{name}.npy")}
    session.run(None, feed)
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def simulated_seconds(timing: str) -> dict[str, float]:
    """Medians of the bench, by network."""
    command = ["cargo", "bench", "--quiet", "-p", "scnnc-driver", "--bench", "simulate", "--", f"{timing}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    medians = {}
    for line in text.splitlines():
        name = next((name for name in NETWORKS if name in line), None)
        columns = line.split("│")
        found = re.match(r"\s*([\d.]+) (\S+)", columns[2]) if name and len(columns) > 2 else None
        if found:
            medians[name] = float(found[1]) * UNITS[found[2]]
    return medians


if __name__ == "__main__":
    main()
