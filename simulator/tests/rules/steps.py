"""Section 3 of the rules: products, addresses, banks, and the queues in front of them."""

import numpy as np

from change import Change
from geometry import Axis, Box, Tile, length, meet


class Products:
    """The products of a pass by step and bank."""

    def __init__(self, machine: dict, array: dict, tile: Tile, inner: Box, change: Change):
        self.pe, self.inner, self.change = machine["pe"], inner, change
        y, x = Axis.of(array["y"]), Axis.of(array["x"])
        self.met = [self.table(axis, span) for axis, span in ((y, inner.y), (x, inner.x))]
        self.first = []
        longest = lambda axis, cuts, span: max(length(meet(axis.reach(part), span)) for part in zip(cuts, cuts[1:]))
        self.images = tile.most_images(inner)
        self.height, self.width = longest(y, tile.y, inner.y), longest(x, tile.x, inner.x) + change.accumulator_pitch
        for box in tile.rectangles():
            self.first.append((box.n[0], meet(y.reach(box.y), inner.y)[0], meet(x.reach(box.x), inner.x)[0]))

    @staticmethod
    def table(axis: Axis, span: tuple) -> np.ndarray:
        """By (input, tap) the output in the span that they meet, or -1."""
        met = np.full((axis.input, axis.kernel), -1, dtype=np.int64)
        for position in range(axis.input):
            for tap in range(axis.kernel):
                output = axis.met(position, tap)
                if output is not None and span[0] <= output < span[1]:
                    met[position, tap] = output
        return met

    def by_step(self, pe: int, activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(step, bank): products of a block of activations and a part of weights."""
        f, i, banks = self.pe["weights_per_vector"], self.pe["activations_per_vector"], self.pe["banks"]
        a, w = activations[:, None, :], weights[None, :, :]
        n, (k, r, s) = a[..., 0], (w[..., axis] for axis in range(3))
        y, x = self.met[0][a[..., 1], r], self.met[1][a[..., 2], s]
        useful = (n >= 0) & (k >= 0) & (y >= 0) & (x >= 0) & (self.inner.n[0] <= n) & (n < self.inner.n[1])
        first = self.first[pe]
        address = ((k * self.images + n - first[0]) * self.height + y - first[1]) * self.width + x - first[2]
        if self.pe["bank_map"] == "xor":
            address = address ^ (address // banks)
        bank = address % banks
        held, streamed = -(-len(activations) // i), -(-len(weights) // f)
        at, other = np.arange(len(activations))[:, None] // i, np.arange(len(weights))[None, :] // f
        step = other * held + at if self.change.weights_outermost else at * streamed + other
        cells = (step * banks + bank)[useful]
        return np.bincount(cells, minlength=held * streamed * banks).reshape(-1, banks)


def run(queues: np.ndarray, pes: list, products: list, depth: int) -> list:
    """Runs the steps of several PEs, and leaves their queues as they are then; by PE the cycles that each step waited."""
    order = sorted(range(len(pes)), key=lambda at: -len(products[at]))
    waiting = queues[[pes[at] for at in order]]
    counts = [len(products[at]) for at in order]
    arriving = np.zeros((counts[0], len(pes), queues.shape[1]), dtype=np.int64)
    for at, index in enumerate(order):
        arriving[: counts[at], at] = products[index]
    held_back = np.where(arriving > 0, np.minimum(arriving, depth) - depth, -(1 << 40))
    waits, active = np.zeros((counts[0], len(pes)), dtype=np.int64), len(pes)
    for step in range(counts[0]):
        while counts[active - 1] <= step:
            active -= 1
        q = waiting[:active]
        wait = np.maximum((q + held_back[step, :active]).max(axis=1), 0)
        waits[step, :active] = wait
        waiting[:active] = np.maximum(np.maximum(q - wait[:, None], 0) + arriving[step, :active] - 1, 0)
    by_pe = [None] * len(pes)
    for at, index in enumerate(order):
        queues[pes[index]] = waiting[at]
        by_pe[index] = waits[: counts[at], at]
    return by_pe
