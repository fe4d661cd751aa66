"""scnnc beside onnxruntime on the same cores: prints what one image costs in both, for each network.

    python compiler/driver/benches/beside_onnxruntime.py [NETWORK ...] [--folder DIR] [--scnnc BINARY] [--runs N]

Makes the zoo's networks in the folder (default: a temporary one), compiles each for `scnn` with its image as
calibration, and then takes turns: one inference of an open session, one session opened from the file with its first
inference, one process `scnnc run PROGRAM`. The figures are medians of the turns, by the clock and in CPU seconds; the
ratios by CPU seconds hold on a machine that has other work too. Threads of onnxruntime do not spin while they wait, or
they would take the cores from what is measured next. Needs onnxruntime.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "models"))
from launcher import measured  # noqa: E402

NETWORKS = ["alexnet", "googlenet", "vgg16", "resnet50", "mobilenetv2"]
STAGES = re.compile(r"^time +read ([\d.]+) s, simulate ([\d.]+) s", re.MULTILINE)


@dataclass
class Cost:
    """Costs of one piece of work, a figure for each turn."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def add(self, wall: float, cpu: float) -> None:
        self.wall.append(wall)
        self.cpu.append(cpu)

    @property
    def seconds(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        return statistics.median(self.cpu)


@dataclass
class Network:
    """What was measured of a network."""

    name: str
    compiled: Cost = field(default_factory=Cost)
    inference: Cost = field(default_factory=Cost)
    load: Cost = field(default_factory=Cost)
    run: Cost = field(default_factory=Cost)
    simulation: list[float] = field(default_factory=list)


def main() -> None:
    options = arguments()
    scnnc = options.scnnc.resolve() if options.scnnc else released()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        missing = [name for name in options.networks if not (folder / f"{name}.onnx").exists()]
        if missing:
            subprocess.run([scnnc, "zoo", "make", "-q", "-o", folder, *missing], check=True)
        networks = [measure(name, folder, scnnc, options.runs) for name in options.networks]
    print(f"medians of {options.runs} turns on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print_costs(networks)
    print()
    print_ratios(networks)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--folder", type=Path, help="the networks' folder, which keeps them")
    parser.add_argument("--scnnc", type=Path, help="the binary; default: the released one of this repository, built")
    parser.add_argument("--runs", type=int, default=7, help="turns of each network (default 7)")
    return parser.parse_args()


def released() -> Path:
    """Builds the binary and says where it is."""
    command = ["cargo", "build", "--release", "--quiet", "--package", "scnnc-cli"]
    subprocess.run(command, check=True, cwd=REPOSITORY)
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve() / "release" / "scnnc"


def measure(name: str, folder: Path, scnnc: Path, runs: int) -> Network:
    print(f"{name} ...", file=sys.stderr, flush=True)
    model, image, found = folder / f"{name}.onnx", folder / f"{name}.npy", Network(name)
    feed = {"data": np.load(image)}
    with tempfile.TemporaryDirectory() as temporary:
        program = Path(temporary) / f"{name}.scnn"
        compile_command = [scnnc, "compile", model, "--calibrate", image, "-o", program, "-q"]
        run_command = [scnnc, "run", program, "--input", image, "-v"]
        process(compile_command, found.compiled)
        process(run_command, Cost())
        session = opened(model)
        session.run(None, feed)
        for _ in range(runs):
            here(lambda: session.run(None, feed), found.inference)
            here(lambda: opened(model).run(None, feed), found.load)
            stages = STAGES.search(process(run_command, found.run))
            found.simulation.append(float(stages[2]))
    return found


def opened(model: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def here(work, cost: Cost) -> None:
    """Adds the cost of work inside this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    cost.add(time.perf_counter() - wall, time.process_time() - cpu)


def process(command: list, cost: Cost) -> str:
    """Adds the cost of a whole process, and gives what it printed."""
    command = [str(part) for part in command]
    done = measured(command)
    if done.status != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.status}\n{done.stderr}")
    cost.add(done.seconds, done.cpu_seconds)
    cost.peak_bytes = max(cost.peak_bytes, int(done.megabytes * 2**20))
    return done.stdout + done.stderr


def print_costs(networks: list[Network]) -> None:
    """Prints milliseconds by the clock, CPU milliseconds in brackets, and peak memory of the processes."""
    columns = ["inference", "load + inference", "compile", "run", "simulation"]
    print(f"{'ms (CPU ms)':12}" + "".join(f"{column:>18}" for column in columns) + f"{'peak MB':>14}")
    for of in networks:
        costs = [of.inference, of.load, of.compiled, of.run]
        cells = [f"{cost.seconds * 1e3:.0f} ({cost.cpu_seconds * 1e3:.0f})" for cost in costs]
        cells.append(f"{statistics.median(of.simulation) * 1e3:.0f}")
        peaks = f"{of.compiled.peak_bytes / 1e6:.0f}, {of.run.peak_bytes / 1e6:.0f}"
        print(f"{of.name:12}" + "".join(f"{cell:>18}" for cell in cells) + f"{peaks:>14}")


def print_ratios(networks: list[Network]) -> None:
    """Prints ratios by the clock, those of CPU seconds in brackets."""
    columns = ["run / inference", "run / (load + inference)", "simulation / inference"]
    print(f"{'ratio (CPU)':12}" + "".join(f"{column:>26}" for column in columns))
    for of in networks:
        cells = [
            f"{of.run.seconds / dense.seconds:.2f} ({of.run.cpu_seconds / dense.cpu_seconds:.2f})"
            for dense in (of.inference, of.load)
        ]
        cells.append(f"{statistics.median(of.simulation) / of.inference.seconds:.2f}")
        print(f"{of.name:12}" + "".join(f"{cell:>26}" for cell in cells))


if __name__ == "__main__":
    main()
