"""Section 2 of the rules: elements and bytes of blocks, vectors, parts of weight blocks."""

from dataclasses import dataclass

import numpy as np

from change import NONE, Change
from geometry import Axis, Box, Tile, ceil_div


@dataclass(frozen=True)
class Code:
    """How a block is coded."""

    data_bits: int
    index_bits: int
    period: int
    compressed: bool
    extra_bytes: int = 0

    @staticmethod
    def of(machine: dict, kind: str, change: Change = NONE) -> "Code":
        encoding = machine["encoding"]
        period = (1 << encoding["index_bits"]) - change.run_length
        compressed = encoding[f"compress_{kind}"]
        return Code(machine["pe"]["operand_bits"], encoding["index_bits"], period, compressed, change.block_byte)

    def places(self, values: np.ndarray) -> np.ndarray:
        """The position of each element in its block, -1 for a stored zero."""
        if not self.compressed:
            return np.where(values != 0, np.arange(values.size), -1)
        places, stored = np.flatnonzero(values), []
        before = 0
        for place in places.tolist():
            stored += [-1] * ((place - before) // self.period)
            stored.append(place)
            before = place + 1
        return np.array(stored, dtype=np.int64)

    def bytes(self, elements: int) -> int:
        count = max(1, ceil_div(elements.bit_length(), 7))
        runs, values = (ceil_div(elements * bits, 8) for bits in (self.index_bits, self.data_bits))
        return count + runs + values + self.extra_bytes

    def excess_bytes(self, elements: int) -> int:
        return ceil_div(elements * (self.data_bits + self.index_bits), 8)


@dataclass(frozen=True)
class Block:
    """Activations of one (PE, channel, residue): element by element image, row, column; -1 for a stored zero."""

    positions: np.ndarray

    @property
    def elements(self) -> int:
        return len(self.positions)

    @property
    def nonzeros(self) -> int:
        return int((self.positions[:, 0] >= 0).sum())


def residues_of(layout: dict) -> list:
    rows, cols = layout["residues"]
    return [(row, col) for row in range(rows) for col in range(cols)]


class Activations:
    """The blocks of one tile: by (PE, channel, residue), none where the PE has no position."""

    def __init__(self, code: Code, tensor: np.ndarray, layout: dict, tile: int):
        self.code, self.tensor = code, tensor
        self.residues = residues_of(layout)
        self.grid = layout["residues"]
        self.rectangles = Tile.of(layout["tiles"][tile]).rectangles()
        self.channels = tensor.shape[1]
        self.known: dict = {}
        self.places = [[self.positions(box, residue) for residue in self.residues] for box in self.rectangles]

    def positions(self, box: Box, residue: tuple) -> np.ndarray:
        """All positions of a PE's residue in order."""
        rows = [y for y in range(*box.y) if y % self.grid[0] == residue[0]]
        cols = [x for x in range(*box.x) if x % self.grid[1] == residue[1]]
        grid = np.meshgrid(np.arange(*box.n), rows, cols, indexing="ij")
        return np.stack([axis.ravel() for axis in grid], axis=1).astype(np.int64)

    def block(self, pe: int, channel: int, residue: int):
        key = (pe, channel, residue)
        if key not in self.known:
            places = self.places[pe][residue]
            self.known[key] = self.make(places, channel) if len(places) else None
        return self.known[key]

    def make(self, places: np.ndarray, channel: int) -> Block:
        n, y, x = places.T
        elements = self.code.places(self.tensor[n, channel, y, x])
        positions = places[np.maximum(elements, 0)]
        positions[elements < 0] = -1
        return Block(positions)

    def elements(self, pe: int, channel: int, residue: int) -> int:
        block = self.block(pe, channel, residue)
        return block.elements if block else 0

    def of_channel(self, pe: int, channel: int) -> int:
        return sum(self.elements(pe, channel, residue) for residue in range(len(self.residues)))

    def bytes_of_channel(self, pe: int, channel: int) -> int:
        blocks = (self.block(pe, channel, residue) for residue in range(len(self.residues)))
        return sum(self.code.bytes(block.elements) for block in blocks if block)

    def vectors(self, pe: int, channels, width: int) -> int:
        residues = range(len(self.residues))
        return sum(ceil_div(self.elements(pe, c, residue), width) for c in channels for residue in residues)

    def pes(self) -> range:
        return range(len(self.rectangles))

    def with_tile(self) -> list:
        return [pe for pe in self.pes() if self.rectangles[pe].positions()]


@dataclass(frozen=True)
class WeightBlock:
    """Weights of one (output-channel group, input channel, residue): by element k, r, s; -1 for a stored zero."""

    channel: int
    residue: int
    taps: np.ndarray

    @property
    def elements(self) -> int:
        return len(self.taps)

    @property
    def nonzeros(self) -> int:
        return int((self.taps[:, 0] >= 0).sum())


def weight_blocks(code: Code, array: dict, weights: np.ndarray, inputs: int, layout: dict) -> list:
    """By output-channel group the blocks in streaming order, empty ones too; `weights` are K x C / groups x R x S."""
    axes = (Axis.of(array["y"]), Axis.of(array["x"]))
    rows, cols = layout["residues"]
    taps = [
        [
            (r, s)
            for r in range(axes[0].kernel)
            for s in range(axes[1].kernel)
            if axes[0].can_meet(residue[0], rows, r) and axes[1].can_meet(residue[1], cols, s)
        ]
        for residue in residues_of(layout)
    ]
    per_out, per_in = weights.shape[0] // array["groups"], inputs // array["groups"]
    groups = []
    for begin, end in array["channel_groups"]:
        first = begin // per_out * per_in
        channels = range(first, first + per_in) if begin < end else range(0)
        groups.append(
            [
                WeightBlock(
                    channel,
                    residue,
                    ordered(code, array["order"], weights, (begin, end), channel - first, of_residue),
                )
                for channel in channels
                for residue, of_residue in enumerate(taps)
            ]
        )
    return groups


def ordered(code: Code, order: str, weights: np.ndarray, k: tuple, channel: int, taps: list) -> np.ndarray:
    """The elements of a weight block as k from the group's first, r, s."""
    kc = range(k[1] - k[0])
    if order == "krs":
        positions = [(at, r, s) for at in kc for r, s in taps]
    else:
        positions = [(at, r, s) for r, s in taps for at in kc]
    positions = np.array(positions, dtype=np.int64).reshape(-1, 3)
    values = weights[k[0] + positions[:, 0], channel, positions[:, 1], positions[:, 2]]
    elements = code.places(values)
    taps = positions[np.maximum(elements, 0)] if len(elements) else positions[:0]
    taps[elements < 0] = -1
    return taps
