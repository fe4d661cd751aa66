"""A run of the simulator computed again: the program's text and the dumped tensors in, every reported figure out."""

import json
from collections import Counter
from math import ceil, prod
from pathlib import Path

import numpy as np

import fast
import program as text
from change import NONE, Change
from exact import Exact
from layer import LayerReader, Memory, Unknown
from prices import prices

ENERGY = {
    "multipliers": {"multiplies": ["multiply"]},
    "coordinates": {"coordinates": ["coordinate"]},
    "crossbar": {"crossbar_transfers": ["crossbar_transfer"]},
    "accumulators": {"accumulations": ["accumulate", "add"]},
    "weight_fifo": {"fifo_reads": ["fifo_read_vector"], "fifo_writes": ["fifo_write_vector"]},
    "activation_rams": {"iaram_reads": ["iaram_read_vector"], "oaram_writes": ["oaram_write_vector"]},
    "ppu": {"ppu_elements": ["ppu_element"]},
    "halo": {"halo_hops": ["halo_sum"]},
}
"""Section 12: components, counters, entries of the table; DRAM and the host link are counted by the bit."""

DRAM = ("weight", "read", "write", "spill")


class Twin:
    """What a program does on inputs of which the tensors of every layer were dumped."""

    def __init__(self, program: text.Program, dumps: Path, change: Change = NONE, log: list | None = None):
        self.program, self.machine, self.change, self.log = program, program.machine, change, log
        self.prices = prices(program.machine, change)
        self.memory = Memory(program, change)
        self.dumps = dumps_by_layer(dumps)

    def layers(self, reported: list):
        """For each operation that the report has: (its report, the twin's figures or None where a tensor is not known)."""
        operations = self.program.operations()
        assert len(operations) == len(reported), f"{len(operations)} operations in the program, {len(reported)} in the report"
        host = self.host_bytes(operations)
        head_start: int | None = 0  # of the next layer; None if it is not known
        for (kind, name, instructions), report, bytes_ in zip(operations, reported, host):
            if kind == "segment":
                yield report, self.segment(bytes_)
                head_start = 0
                continue
            try:
                figures, head_start = self.layer(name, instructions, bytes_, head_start)
                yield report, figures
            except Unknown:
                head_start = None if self.machine["sync"].get("layers") == "overlap" else 0
                yield report, None

    def layer(self, name: str, instructions: list, host_bytes: int, head_start: int | None) -> tuple:
        """The figures of a layer, and the head start that it leaves."""
        layer, dumped = self.program.layer[name], self.dumps[name]
        self.memory.set(layer["source"], np.load(dumped / "input.npy"))
        self.memory.set(layer["destination"], np.load(dumped / "output.npy"))
        weights = np.load(dumped / "weights.npy") if layer.get("array") else None
        work = LayerReader(self.memory, name, weights).read(instructions)
        work.counters["host_bytes"] = host_bytes
        lanes = self.machine["pe"]["weights_per_vector"] * self.machine["pe"]["activations_per_vector"]
        if head_start is None:
            raise Unknown("the head start")
        *exact, left = Exact(self.machine, work, self.memory, self.change, self.log, head_start).run()
        timings = {"exact": exact, "fast": fast.time(self.machine, work, self.change)}
        figures = figures_of(work.counters, self.prices)
        for timing, (cycles, waits) in timings.items():
            figures[f"{timing} cycles"] = cycles
            slots = work.slots + Counter({cause: count * lanes for cause, count in waits.items()})
            figures |= {f"{timing} slots of {cause}": slots[cause] for cause in SLOTS}
        return figures, left

    def segment(self, host_bytes: int) -> dict:
        machine = self.machine
        cycles = ceil(host_bytes / (machine["host_link"]["gigabytes_per_second"] / machine["clock"]["gigahertz"]))
        lanes = prod(machine["array"][key] for key in ("rows", "cols"))
        lanes *= prod(machine["pe"][f"{kind}_per_vector"] for kind in ("weights", "activations"))
        figures = figures_of(Counter(host_bytes=host_bytes), self.prices)
        for timing, of_timing in (("exact", cycles), ("fast", 0)):
            figures[f"{timing} cycles"] = of_timing
            figures |= {f"{timing} slots of {cause}": 0 for cause in SLOTS}
            figures[f"{timing} slots of host_link"] = of_timing * lanes
        return figures

    def host_bytes(self, operations: list) -> list:
        """By operation the bytes over the host link: a segment's own, inputs with the first operation, outputs with the last."""
        of = lambda values: sum(self.bytes_of_value(value) for value in values)
        bytes_ = [0] * len(operations)
        for at, (kind, name, _) in enumerate(operations):
            if kind == "segment":
                segment = self.program.segment[name]
                bytes_[at] = of(segment["inputs"]) + of(segment["outputs"])
        if operations:
            bytes_[0] += of(self.program.inputs)
            bytes_[-1] += of(self.program.outputs)
        return bytes_

    def bytes_of_value(self, value: str) -> int:
        region = self.program.value[value].get("region")
        if region is None:
            return 0
        tensor = self.program.region[region]["tensor"]
        return prod(self.program.tensor[tensor]["shape"]) * self.machine["pe"]["operand_bits"] // 8


SLOTS = (
    "useful",
    "fragmentation",
    "out_of_plane",
    "placeholder",
    "bank_stall",
    "fifo",
    "barrier",
    "drain",
    "dram",
    "host_link",
    "no_tile",
)
COUNTERS = (
    "multiplies",
    "accumulations",
    "crossbar_transfers",
    "coordinates",
    "fifo_writes",
    "fifo_reads",
    "iaram_reads",
    "oaram_writes",
    "ppu_elements",
    "halo_hops",
    *(f"dram_{kind}_bytes" for kind in DRAM),
    "host_bytes",
)


def dumps_by_layer(folder: Path) -> dict:
    found = {}
    for path in folder.glob("*/layer.json"):
        found[json.loads(path.read_text())["layer"]["name"]] = path.parent
    return found


def figures_of(counters: Counter, table: dict) -> dict:
    """Counters and energies by the names that the comparison prints; `table` has the energies of events, pJ."""
    figures = {name: counters[name] for name in COUNTERS}
    for component, terms in ENERGY.items():
        figures[f"energy of {component}"] = sum(
            counters[name] * sum(table[e] for e in entries) for name, entries in terms.items()
        )
    figures["energy of dram"] = sum(counters[f"dram_{kind}_bytes"] for kind in DRAM) * 8 * table["dram_bit"]
    figures["energy of host_link"] = counters["host_bytes"] * 8 * table["host_bit"]
    return figures


def reported_figures(exact: dict, fast_: dict) -> dict:
    """The same figures as the simulator reports them."""
    figures = {name: exact["counters"][name] for name in COUNTERS}
    energies = {key: pj for key, pj in exact["energy_pj"].items()}
    figures |= {f"energy of {component}": energies[component] for component in (*ENERGY, "dram", "host_link")}
    for timing, report in (("exact", exact), ("fast", fast_)):
        figures[f"{timing} cycles"] = report["cycles"]["total"]
        figures |= {f"{timing} slots of {cause}": report["cycles"]["slots"][cause] for cause in SLOTS}
    return figures


def differences(theirs: dict, ours: dict) -> list:
    """(figure, reported, the twin's); energies to the last digits of a sum."""
    same = lambda name, a, b: abs(a - b) <= 1e-9 * max(abs(a), 1) if name.startswith("energy") else a == b
    return [(name, theirs[name], ours[name]) for name in ours if not same(name, theirs[name], ours[name])]
