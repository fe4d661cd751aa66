"""Runs two builds of scnnc on the same networks, and tells side by side where their work was done and what it cost.

The networks are those of a folder: NAME.onnx, its inputs in NAME.npz (or NAME.npy), ONNX Runtime's outputs in
NAME.expect.npz. `real_networks.py --keep DIR` leaves the trained ones so, `scnnc zoo make -o DIR` the zoo's.

    python models/before_after.py OLD/scnnc NEW/scnnc --networks DIR --md TABLE.md
    python models/before_after.py OLD/scnnc NEW/scnnc --networks DIR --only gtcrn lac

Each network is compiled for `scnn` with its inputs as calibration, and run once on them. Exit status 3: a network has
more cycles by the second build than by the first.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from launcher import measured
from real_networks import Outcome, coverage, decibels, first_error, open_inputs

HEAD = [
    "network", "nodes on the array", "products", "segments", "cycles", "", "host link", "DRAM", "energy", "SQNR",
]  # fmt: skip


@dataclass
class Cost:
    """What a build made of a network; `failure` instead, where it made nothing."""

    failure: str = ""
    nodes: float = 0.0
    products: float = 0.0
    segments: int = 0
    cycles: int = 0
    host_link: float = 0.0
    dram_bytes: int = 0
    picojoules: float = 0.0
    decibels: float | None = None


def main() -> int:
    options = arguments()
    models = sorted(options.networks.glob("*.onnx"))
    wanted = [m for m in models if not options.only or m.stem in options.only]
    rows, slower = [], []
    for model in wanted:
        before, after = (cost(build.resolve(), model, options) for build in (options.before, options.after))
        rows.append(row(model.stem, before, after))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
        if not before.failure and not after.failure and after.cycles > before.cycles:
            slower.append(model.stem)
    table = markdown(rows)
    print(table)
    if options.md:
        options.md.write_text(table + "\n")
    if slower:
        print(f"more cycles than before: {', '.join(slower)}", file=sys.stderr)
    return 3 if slower else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", type=Path, help="the first build's scnnc")
    parser.add_argument("after", type=Path, help="the second build's scnnc")
    parser.add_argument("--networks", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these networks alone")
    parser.add_argument("--limit-seconds", type=float, default=600, metavar="S", help="for each command")
    parser.add_argument("--md", type=Path, metavar="OUT", help="write the table")
    return parser.parse_args()


def cost(scnnc: Path, model: Path, options: argparse.Namespace) -> Cost:
    """What a build makes of a network."""
    inputs = next(f for f in (model.with_suffix(".npz"), model.with_suffix(".npy")) if f.exists()).resolve()
    sizes = size_flags(model, inputs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checked = measured([str(scnnc), "check", str(model.resolve()), "--json", *sizes], folder, options.limit_seconds)
        if checked.status not in (0, 3):
            return Cost(failure=first_error(checked))
        report, outputs = folder / "report.json", folder / "outputs.npz"
        files = ["--input", str(inputs), "--calibrate", str(inputs), "--report", str(report), "--output", str(outputs)]
        run = measured([str(scnnc), "run", str(model.resolve()), "--quiet", *files, *sizes], folder, options.limit_seconds)
        if run.status:
            return Cost(failure=first_error(run))
        share = Outcome(model.stem, "", "")
        coverage(json.loads(checked.stdout), share)
        found = Cost(nodes=share.nodes_on_array or 0.0, products=share.multiplications_on_array or 0.0)
        read(json.loads(report.read_text()), found)
        found.decibels = likeness(model.with_suffix(".expect.npz"), np.load(outputs))
        return found


def size_flags(model: Path, inputs: Path) -> list[str]:
    """`--dim` for open dimensions with a name, `--shape` for inputs with others: as the arrays have them."""
    arrays = np.load(inputs)
    flags = {}
    for value in open_inputs(onnx.load(model, load_external_data=False)):
        shape = arrays.shape if isinstance(arrays, np.ndarray) else arrays[value.name].shape
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            if dim.dim_param and dim.dim_param != "?":
                flags[dim.dim_param] = f"--dim={dim.dim_param}={size}"
            elif dim.dim_value <= 0:
                flags[value.name] = f"--shape={value.name}={','.join(map(str, shape))}"
    return list(flags.values())


def read(report: dict, found: Cost) -> None:
    totals = report["totals"]
    slots = totals["cycles"]["slots"]
    found.segments = sum(layer["engine"] == "host" for layer in report["layers"])
    found.cycles = totals["cycles"]["total"]
    found.host_link = slots["host_link"] / max(sum(slots.values()), 1)
    found.dram_bytes = sum(totals["dram_bytes"].values())
    found.picojoules = totals["energy_pj"]["total"]


def likeness(expected: Path, got: dict[str, np.ndarray]) -> float | None:
    """The worst output's decibels beside ONNX Runtime, where its outputs are there."""
    if not expected.exists():
        return None
    wanted = np.load(expected)
    return min(decibels(wanted[name], got[name].reshape(wanted[name].shape)) for name in wanted.files)


# What is printed.


def markdown(rows: list[list[str]]) -> str:
    lines = [HEAD, ["---"] + ["---:"] * (len(HEAD) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def row(name: str, before: Cost, after: Cost) -> list[str]:
    """Each cell before and after; of cycles also their ratio."""
    if before.failure or after.failure:
        told = [
            cost.failure.split(":")[0] or f"{cost.cycles / 1e3:.0f} k cycles, link {100 * cost.host_link:.1f} %"
            for cost in (before, after)
        ]
        return [name, f"{told[0]} → {told[1]}", *[""] * (len(HEAD) - 2)]
    pairs = [
        (f"{100 * cost.nodes:.0f}", f"{100 * cost.products:.0f}", str(cost.segments), f"{cost.cycles / 1e3:.1f}")
        + (f"{100 * cost.host_link:.1f}", f"{cost.dram_bytes / 1e6:.2f}", f"{cost.picojoules / 1e6:.1f}")
        + ("-" if cost.decibels is None else f"{cost.decibels:.1f}",)
        for cost in (before, after)
    ]
    units = [" %", " %", "", " k", " %", " MB", " uJ", " dB"]
    cells = [f"{a} → {b}{unit}" for a, b, unit in zip(*pairs, units, strict=True)]
    ratio = f"{before.cycles / max(after.cycles, 1):.2f}x"
    return [name, *cells[:4], ratio, *cells[4:]]


if __name__ == "__main__":
    sys.exit(main())
