"""Section 1 of the rules: axes, tiles, residues; and from section 8 owners and halos."""

from collections import Counter
from dataclasses import dataclass
from math import gcd


def ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)


def meet(a, b):
    """The positions in both spans; an empty span where there is none."""
    begin = max(a[0], b[0])
    return (begin, max(begin, min(a[1], b[1])))


def length(span) -> int:
    return max(0, span[1] - span[0])


@dataclass(frozen=True)
class Axis:
    """Rows or columns of a convolution or a pool."""

    input: int
    output: int
    kernel: int = 1
    stride: int = 1
    upsample: int = 1
    dilation: int = 1
    pad: tuple = (0, 0)

    @staticmethod
    def of(fields: dict) -> "Axis":
        return Axis(**{**fields, "pad": tuple(fields.get("pad", (0, 0)))})

    def met(self, position: int, tap: int):
        """The output that an input and a tap meet, if there is one."""
        at = position * self.upsample + self.pad[0] - tap * self.dilation
        if at < 0 or at % self.stride or at // self.stride >= self.output:
            return None
        return at // self.stride

    def reach(self, span):
        if length(span) == 0:
            return (0, 0)
        first = span[0] * self.upsample + self.pad[0] - (self.kernel - 1) * self.dilation
        last = (span[1] - 1) * self.upsample + self.pad[0]
        return self.clip(ceil_div(first, self.stride), last // self.stride + 1, self.output)

    def needs(self, span):
        if length(span) == 0:
            return (0, 0)
        first = span[0] * self.stride - self.pad[0]
        last = (span[1] - 1) * self.stride - self.pad[0] + (self.kernel - 1) * self.dilation
        return self.clip(ceil_div(first, self.upsample), last // self.upsample + 1, self.input)

    def projection(self, cut: int) -> int:
        centre = cut * self.upsample + self.pad[0] - (self.kernel - 1) * self.dilation // 2
        return min(max(ceil_div(centre, self.stride), 0), self.output)

    def can_meet(self, residue: int, residues: int, tap: int) -> bool:
        at = residue * self.upsample + self.pad[0] - tap * self.dilation
        return at % gcd(residues * self.upsample, self.stride) == 0

    @staticmethod
    def clip(begin: int, end: int, extent: int):
        begin = min(max(begin, 0), extent)
        return (begin, max(begin, min(end, extent)))


@dataclass(frozen=True)
class Box:
    """Images, rows and columns."""

    n: tuple
    y: tuple
    x: tuple

    @staticmethod
    def of(fields: dict) -> "Box":
        return Box(*(tuple(fields[axis]) for axis in "nyx"))

    def meet(self, other: "Box") -> "Box":
        return Box(meet(self.n, other.n), meet(self.y, other.y), meet(self.x, other.x))

    def positions(self) -> int:
        return length(self.n) * length(self.y) * length(self.x)


@dataclass(frozen=True)
class Tile:
    """A temporal tile and its cut over the PEs of a group."""

    images: tuple
    n: tuple
    y: tuple
    x: tuple

    @staticmethod
    def of(fields: dict) -> "Tile":
        return Tile(*(tuple(fields[key]) for key in ("images", "n", "y", "x")))

    def grid(self):
        return self.images[0] * (len(self.y) - 1), self.images[1] * (len(self.x) - 1)

    def rectangles(self) -> list:
        """What each PE of a group holds, by number."""
        rows, cols = self.grid()
        return [self.rectangle(row, col) for row in range(rows) for col in range(cols)]

    def rectangle(self, row: int, col: int) -> Box:
        image_row, row = divmod(row, len(self.y) - 1)
        image_col, col = divmod(col, len(self.x) - 1)
        image = image_row * self.images[1] + image_col
        part = lambda cuts, at: (cuts[at], cuts[at + 1])
        return Box(part(self.n, image), part(self.y, row), part(self.x, col))

    def most_images(self, inner: Box) -> int:
        return max(length(meet(part, inner.n)) for part in zip(self.n, self.n[1:]))


def inner_box(layer: dict, output: Box) -> Box:
    """What leaves the array for the output of a pass."""
    pool = layer["ppu"].get("pool")
    if not pool:
        return output
    return Box(output.n, Axis.of(pool["y"]).needs(output.y), Axis.of(pool["x"]).needs(output.x))


def pe_of_array(machine: dict, pes: tuple, groups: tuple, group: int, pe: int) -> int:
    """Number in the array of a PE of a PE group."""
    row = group // groups[1] * pes[0] + pe // pes[1]
    col = group % groups[1] * pes[1] + pe % pes[1]
    return row * machine["array"]["cols"] + col


@dataclass(frozen=True)
class Exchange:
    """Halos of a pass for one output channel."""

    hops: int
    busiest_link: int
    most_owned: int


def exchange(axes: tuple, tile: Tile, inner: Box, shift: int = 0) -> Exchange:
    (rows, most_rows), (cols, most_cols) = (
        sums_by_owner(axis, cuts, span, shift) for axis, cuts, span in zip(axes, (tile.y, tile.x), (inner.y, inner.x))
    )
    links: Counter = Counter()
    for (row, to_row), height in rows.items():
        for (col, to_col), width in cols.items():
            at = (row, col)
            while at != (to_row, to_col):
                step = (at[0] + sign(to_row - at[0]), at[1] + sign(to_col - at[1]))
                links[at, step] += height * width
                at = step
    images = tile.most_images(inner)
    return Exchange(
        hops=sum(links.values()) * length(inner.n),
        busiest_link=max(links.values(), default=0) * images,
        most_owned=most_rows * most_cols * images,
    )


def sums_by_owner(axis: Axis, cuts: tuple, inner: tuple, shift: int):
    """By (part, owner) the outputs that the part has sums of, along one axis; and the most that a part owns."""
    parts = range(len(cuts) - 1)
    bounds = [axis.projection(cut) + shift for cut in cuts]
    bounds[0], bounds[-1] = inner
    owned = [meet((bounds[part], bounds[part + 1]), inner) for part in parts]
    sums: Counter = Counter()
    for part in parts:
        held = range(cuts[part], cuts[part + 1])
        met = {axis.met(position, tap) for position in held for tap in range(axis.kernel)}
        for owner in parts:
            outputs = sum(output in met for output in range(*owned[owner]))
            if outputs:
                sums[part, owner] = outputs
    return sums, max(length(span) for span in owned)


def sign(value: int) -> int:
    return (value > 0) - (value < 0)
