"""Sections 7, 8 and 12 of the rules: what the instructions of a layer ask of the units, and the counters."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from blocks import Activations, Code, ceil_div, weight_blocks
from change import NONE, Change
from geometry import Axis, Box, Tile, exchange, inner_box, length, meet, pe_of_array


class Unknown(Exception):
    """The dumps do not have a tensor that the layer reads."""


@dataclass
class Load:
    region: str
    columns: list  # (bytes, vectors of the fullest PE up to here)


@dataclass
class Store:
    bytes: int
    vectors: int


@dataclass
class Multiply:
    region: str
    tile: int
    inner: Box
    rounds: range
    channels: tuple
    opens: bool
    closes: bool
    first_column: int
    spills: list
    activations: Activations


@dataclass
class Drain:
    operand: str
    number: int
    first_round: int
    rounds: list  # by round, PE group: [cycles, operand bytes, result bytes]


@dataclass
class Process:
    region: str
    operand: str
    number: int
    cycles: int
    read_bytes: int
    result_bytes: int


@dataclass
class Work:
    """All that the timings need of a layer."""

    layer: dict
    layout: dict
    groups: tuple
    weights: list
    has_tile: list
    tasks: list = field(default_factory=list)
    counters: Counter = field(default_factory=Counter)
    slots: Counter = field(default_factory=Counter)


@dataclass
class Written:
    """What a region holds of a range of channels."""

    channels: tuple
    kept: Counter
    excess: dict  # by (tile, channel)


class Memory:
    """Tensors as they are, and what the regions of the RAMs hold."""

    def __init__(self, program, change: Change = NONE):
        self.program, self.machine, self.change = program, program.machine, change
        self.tensors = {name: np.zeros(t["shape"], dtype=np.int64) for name, t in program.tensor.items()}
        self.known = {name: set() for name in program.tensor}
        self.contents: dict = {}
        self.cache: dict = {}

    def set(self, view: dict, values: np.ndarray):
        """Channels of a tensor, from a dump."""
        begin, end = view["channels"]
        self.tensors[view["tensor"]][:, begin:end] = values
        self.known[view["tensor"]] |= set(range(begin, end))
        self.cache = {key: blocks for key, blocks in self.cache.items() if key[0] != view["tensor"]}

    def blocks(self, tensor: str, tile: int, channels) -> Activations:
        if not set(channels) <= self.known[tensor]:
            raise Unknown(tensor)
        if (tensor, tile) not in self.cache:
            code = Code.of(self.machine, "activations", self.change)
            layout = self.program.tensor[tensor]["layout"]
            self.cache[tensor, tile] = Activations(code, self.tensors[tensor], layout, tile)
        return self.cache[tensor, tile]

    def size(self, region: str) -> int:
        return self.program.region[region]["size"] - self.change.region_element

    def overlap(self, one: str, other: str) -> bool:
        a, b = self.program.region[one], self.program.region[other]
        return a["memory"] == b["memory"] and a["base"] < b["base"] + b["size"] and b["base"] < a["base"] + a["size"]

    def write(self, region: str, channels: tuple, stages: list) -> list:
        """Fills a region; by stage the excess elements by channel. A stage is a list of (tile, blocks, PEs)."""
        held = self.contents
        self.contents = {name: it for name, it in held.items() if name == region or not self.overlap(name, region)}
        before = [it for it in self.contents.get(region, []) if length(meet(it.channels, channels)) == 0]
        room = Counter()
        for written in before:
            room.subtract(written.kept)
        new = Written(channels, Counter(), Counter())
        by_stage = []
        for stage in stages:
            excess = Counter()
            for channel in range(*channels):
                for tile, blocks, pes in stage:
                    for pe in pes:
                        elements = blocks.of_channel(pe, channel)
                        kept = min(elements, self.size(region) + room[pe])
                        room[pe] -= kept
                        new.kept[pe] += kept
                        new.excess[tile, channel] += elements - kept
                        excess[channel] += elements - kept
            by_stage.append(excess)
        self.contents[region] = before + [new]
        return by_stage

    def excess(self, region: str, tile: int, channels) -> int:
        """Excess elements of some channels of a tile, counted from the region's first."""
        return sum(written.excess[tile, channel] for written in self.contents.get(region, []) for channel in channels)

    def spilled_bytes(self, region: str, source_tile: int, channels: list) -> int:
        tile = source_tile - self.program.region[region]["tiles"][0]
        elements = sum(self.excess(region, tile, range(*span)) for span in channels)
        code = Code.of(self.machine, "activations")
        return code.excess_bytes(elements) + (self.change.spill_byte if elements else 0)


class LayerReader:
    """Turns the instructions of a layer into tasks and counters."""

    def __init__(self, memory: Memory, name: str, weights):
        self.memory, self.machine, self.change = memory, memory.machine, memory.change
        self.layer = layer = memory.program.layer[name]
        self.source, self.destination = layer["source"], layer["destination"]
        self.layout = memory.program.tensor[self.source["tensor"]]["layout"]
        self.array = layer.get("array")
        groups = tuple(self.array["pe_groups"]) if self.array else (1, 1)
        self.inputs = length(self.source["channels"])
        blocks = []
        if self.array:
            code = Code.of(self.machine, "weights", self.change)
            blocks = weight_blocks(code, self.array, weights, self.inputs, self.layout)
        pes = self.machine["array"]["rows"] * self.machine["array"]["cols"]
        self.work = Work(layer, self.layout, groups, blocks, [False] * pes)
        self.counters = self.work.counters
        self.weights = weights
        self.f, self.i = (self.machine["pe"][key] for key in ("weights_per_vector", "activations_per_vector"))
        self.results = None

    def read(self, instructions: list) -> Work:
        tasks = {"lda": self.load, "sta": self.store, "mac": self.multiply, "drn": self.drain, "ppu": self.process}
        for mnemonic, operands in instructions:
            if mnemonic in tasks:
                self.work.tasks.append(tasks[mnemonic](**operands))
        self.share_results()
        return self.work

    # Loads and stores.

    def load(self, to: str, **_) -> Load:
        region = self.memory.program.region[to]
        tensor = region["tensor"]
        channels = range(self.memory.program.tensor[tensor]["shape"][1])
        tiles = [self.memory.blocks(tensor, tile, channels) for tile in range(*region["tiles"])]
        self.memory.write(to, (0, len(channels)), [[(at, blocks, blocks.pes())] for at, blocks in enumerate(tiles)])
        room, vectors, columns = Counter(), Counter(), []
        for blocks in tiles:
            for channel in channels:
                for residue in range(len(blocks.residues)):
                    bytes_ = 0
                    for pe in blocks.pes():
                        if (block := blocks.block(pe, channel, residue)) is None:
                            continue
                        kept = min(block.elements, self.memory.size(to) + room[pe])
                        room[pe] -= kept
                        vectors[pe] += ceil_div(kept, self.i)
                        bytes_ += blocks.code.bytes(kept)
                    columns.append((bytes_, max(vectors.values(), default=0)))
        self.counters["dram_read_bytes"] += sum(bytes_ for bytes_, _ in columns)
        self.counters["oaram_writes"] += vectors.total() * self.replicas(tensor)
        return Load(to, columns)

    def replicas(self, tensor: str) -> int:
        rows, cols = self.memory.program.tensor[tensor]["layout"]["groups"]
        return rows * cols

    def store(self, **operands) -> Store:
        region = operands["from"]
        fields = self.memory.program.region[region]
        channels = range(self.memory.program.tensor[fields["tensor"]]["shape"][1])
        bytes_, vectors, excess = 0, Counter(), 0
        for at, tile in enumerate(range(*fields["tiles"])):
            blocks = self.memory.blocks(fields["tensor"], tile, channels)
            for pe in blocks.pes():
                bytes_ += sum(blocks.bytes_of_channel(pe, channel) for channel in channels)
                vectors[pe] += blocks.vectors(pe, channels, self.i)
            excess += self.memory.excess(region, at, channels)
        spilled = Code.of(self.machine, "activations").excess_bytes(excess)
        self.counters["dram_write_bytes"] += bytes_
        self.counters["dram_spill_bytes"] += spilled
        self.counters["iaram_reads"] += vectors.total()
        return Store(bytes_ + spilled, max(vectors.values()))

    # The array.

    def multiply(self, rounds: list, channels: list, **operands) -> Multiply:
        region, pass_ = operands["from"], self.layer["passes"][operands["pass"]]
        first = self.source["channels"][0]
        tile, inner = self.tile_of(pass_)
        blocks = self.memory.blocks(self.source["tensor"], pass_["source_tile"], range(*self.source["channels"]))
        self.mark_tiles(blocks, self.work.groups)
        closes = channels[1] == self.inputs
        halo = self.exchange(tile, inner)
        spills = []
        for round_ in range(*rounds):
            self.count_round(round_, tuple(channels), blocks, inner, first)
            read = {meet(self.group_channels(k), channels) for _, k in self.channel_groups(round_) if k[0] < k[1]}
            read = [(begin + first, end + first) for begin, end in read]
            spills.append(self.memory.spilled_bytes(region, pass_["source_tile"], read))
            if closes:
                outputs = sum(length(k) for _, k in self.channel_groups(round_))
                self.counters["halo_hops"] += halo.hops * outputs
        self.counters["dram_spill_bytes"] += sum(spills)
        fields = self.memory.program.region[region]
        tensor_channels = self.memory.program.tensor[self.source["tensor"]]["shape"][1]
        at = (pass_["source_tile"] - fields["tiles"][0]) * tensor_channels + first
        return Multiply(
            region,
            pass_["source_tile"],
            inner,
            range(*rounds),
            tuple(channels),
            channels[0] == 0,
            closes,
            at * len(blocks.residues),
            spills,
            blocks,
        )

    def tile_of(self, pass_: dict):
        tile = Tile.of(self.layout["tiles"][pass_["source_tile"]])
        return tile, inner_box(self.layer, Box.of(pass_["output"]))

    def exchange(self, tile: Tile, inner: Box):
        axes = (Axis.of(self.array["y"]), Axis.of(self.array["x"]))
        return exchange(axes, tile, inner, self.change.owner)

    def mark_tiles(self, blocks: Activations, groups: tuple):
        pes = self.layout["tiles"][0]
        pes = Tile.of(pes).grid()
        for group in range(groups[0] * groups[1]):
            for pe in blocks.with_tile():
                self.work.has_tile[pe_of_array(self.machine, pes, groups, group, pe)] = True

    def channel_groups(self, round_: int) -> list:
        """(index, output channels) of every PE group in a round."""
        count = self.work.groups[0] * self.work.groups[1]
        return [
            (round_ * count + group, tuple(self.array["channel_groups"][round_ * count + group]))
            for group in range(count)
        ]

    def group_channels(self, k: tuple) -> tuple:
        """Input channels of the convolution group of some output channels."""
        per_in = self.inputs // self.array["groups"]
        first = k[0] // (len(self.weights) // self.array["groups"]) * per_in
        return (first, first + per_in)

    def count_round(self, round_: int, channels: tuple, blocks: Activations, inner: Box, first: int):
        """Steps, pairs and slots of a round."""
        count, slots = self.counters, self.work.slots
        part = self.machine["weights"]["fifo_vectors"] * self.f
        receivers = blocks.with_tile()
        if self.change.receivers:
            everything = range(*self.source["channels"])
            receivers = [pe for pe in receivers if any(blocks.of_channel(pe, c) for c in everything)]
        for index, k in self.channel_groups(round_):
            for weights in self.work.weights[index]:
                if not channels[0] <= weights.channel < channels[1]:
                    continue
                count["dram_weight_bytes"] += Code.of(self.machine, "weights", self.change).bytes(weights.elements)
                vectors = ceil_div(weights.elements, self.f)
                count["fifo_writes"] += vectors * len(receivers)
                for pe in blocks.pes():
                    held = blocks.block(pe, first + weights.channel, weights.residue)
                    if held is None or weights.elements == 0:
                        continue
                    steps = vectors * ceil_div(held.elements, self.i)
                    pairs, both = weights.elements * held.elements, weights.nonzeros * held.nonzeros
                    count["fifo_reads"] += steps
                    count["multiplies"] += pairs
                    count["coordinates"] += pairs
                    count["iaram_reads"] += ceil_div(held.elements, self.i) * ceil_div(weights.elements, part)
                    slots["fragmentation"] += steps * self.f * self.i - pairs
                    slots["placeholder"] += pairs - both
                    slots["out_of_plane"] += both
            useful = self.useful(k, channels, blocks, inner, first) if k[0] < k[1] else 0
            slots["useful"] += useful
            slots["out_of_plane"] -= useful
            count["accumulations"] += useful
            count["crossbar_transfers"] += useful

    def useful(self, k: tuple, channels: tuple, blocks: Activations, inner: Box, first: int) -> int:
        """Pairs of two non-zeros that meet an output of the inner box, tap by tap over the whole tile."""
        y, x = Axis.of(self.array["y"]), Axis.of(self.array["x"])
        of_group = self.group_channels(k)
        here = meet(of_group, channels)
        tensor = self.memory.tensors[self.source["tensor"]]
        boxes = [box for box in blocks.rectangles if box.positions()]
        hull = [
            sorted({p for box in boxes for p in range(*span(box))})
            for span in (lambda b: b.n, lambda b: b.y, lambda b: b.x)
        ]
        images = [n for n in hull[0] if inner.n[0] <= n < inner.n[1]]
        inside = lambda axis, span, positions, tap: [
            p for p in positions if (o := axis.met(p, tap)) is not None and span[0] <= o < span[1]
        ]
        total = 0
        for r in range(y.kernel):
            rows = inside(y, inner.y, hull[1], r)
            for s in range(x.kernel):
                cols = inside(x, inner.x, hull[2], s)
                held = tensor[np.ix_(images, range(first + here[0], first + here[1]), rows, cols)]
                taps = self.weights[k[0] : k[1], here[0] - of_group[0] : here[1] - of_group[0], r, s]
                total += int(((held != 0).sum(axis=(0, 2, 3)) * (taps != 0).sum(axis=0)).sum())
        return total

    # The PPUs.

    def drain(self, rounds: list, to: str, operand: str, **operands) -> Drain:
        pass_ = self.layer["passes"][operands["pass"]]
        last = rounds[1] == len(self.array["channel_groups"]) // (self.work.groups[0] * self.work.groups[1])
        bytes_ = self.post_process(operands["pass"], to, operand) if last else 0
        halo, ppu = self.exchange(*self.tile_of(pass_)), self.machine["ppu"]
        positions = Box.of(pass_["output"]).positions()
        kcs = [[length(k) for _, k in self.channel_groups(round_)] for round_ in range(*rounds)]
        every, done, drains = sum(map(sum, kcs)) * positions, 0, []
        for of_round in kcs:
            drains.append([])
            for kc in of_round:
                cycles = ceil_div(halo.busiest_link * kc, ppu["halo_sums_per_cycle"]) + ceil_div(
                    halo.most_owned * kc, ppu["lanes"]
                )
                more = done + kc * positions
                share = bytes_ * more // max(every, 1) - bytes_ * done // max(every, 1)
                drains[-1].append([cycles + self.change.drain_cycle, share, 0])
                done = more
        return Drain(operand, operands["pass"], rounds[0], drains)

    def process(self, to: str, operand: str, **operands) -> Process:
        region, number = operands["from"], operands["pass"]
        pass_ = self.layer["passes"][number]
        tile, inner = self.tile_of(pass_)
        channels = self.source["channels"]
        read = self.memory.spilled_bytes(region, pass_["source_tile"], [channels])
        self.counters["dram_spill_bytes"] += read
        read += self.post_process(number, to, operand)
        blocks = self.memory.blocks(self.source["tensor"], pass_["source_tile"], range(*channels))
        if self.memory.program.region[region]["memory"] == "dram":
            source = sum(blocks.bytes_of_channel(pe, c) for pe in blocks.pes() for c in range(*channels))
            self.counters["dram_read_bytes"] += source
            read += source
        else:
            self.counters["iaram_reads"] += sum(blocks.vectors(pe, range(*channels), self.i) for pe in blocks.pes())
        groups = tuple(self.layout["groups"])
        self.mark_tiles(blocks, groups)
        most = max(box.meet(inner).positions() for box in blocks.rectangles)
        per_group = ceil_div(length(channels), groups[0] * groups[1])
        cycles = ceil_div(most * per_group, self.machine["ppu"]["lanes"]) + self.change.drain_cycle
        return Process(region, operand, number, cycles, read, 0)

    def post_process(self, number: int, to: str, operand: str) -> int:
        """Counts the values of a pass; bytes of its operand from DRAM."""
        pass_ = self.layer["passes"][number]
        inner = inner_box(self.layer, Box.of(pass_["output"]))
        self.counters["ppu_elements"] += length(self.destination["channels"]) * inner.positions()
        bytes_ = self.read_operand(operand, inner) if operand else 0
        if number == len(self.layer["passes"]) - 1:
            self.write_result(to)
        return bytes_

    def read_operand(self, region: str, inner: Box) -> int:
        fields, view = self.memory.program.region[region], self.layer["ppu"]["operand"]["view"]
        n, _, h, w = self.memory.program.tensor[fields["tensor"]]["shape"]
        per_channel = self.layer["ppu"]["operand"].get("shape") == "per_channel"
        share = length(inner.n) / n if per_channel else inner.positions() / (n * h * w)
        channels = range(*view["channels"])
        tiles = [self.memory.blocks(fields["tensor"], tile, channels) for tile in range(*fields["tiles"])]
        of_all = lambda measure: sum(measure(blocks, pe) for blocks in tiles for pe in blocks.pes())
        if fields["memory"] == "dram":
            bytes_ = ceil(of_all(lambda blocks, pe: sum(blocks.bytes_of_channel(pe, c) for c in channels)) * share)
            self.counters["dram_read_bytes"] += bytes_
        else:
            self.counters["iaram_reads"] += ceil(
                of_all(lambda blocks, pe: blocks.vectors(pe, channels, self.i)) * share
            )
            excess = sum(self.memory.excess(region, tile, channels) for tile in range(len(tiles)))
            bytes_ = ceil(Code.of(self.machine, "activations").excess_bytes(excess) * share)
            self.counters["dram_spill_bytes"] += bytes_
        return bytes_ + (self.change.operand_byte if bytes_ else 0)

    def write_result(self, to: str):
        """Where the result goes, and what of it crosses DRAM with each (pass, channel)."""
        fields, channels = self.memory.program.region[to], tuple(self.destination["channels"])
        tiles = [self.memory.blocks(fields["tensor"], tile, range(*channels)) for tile in range(*fields["tiles"])]
        outputs = [Box.of(pass_["output"]) for pass_ in self.layer["passes"]]
        stages = [[] for _ in outputs]
        for at, blocks in enumerate(tiles):
            completing = [
                max((number for number, output in enumerate(outputs) if box.meet(output).positions()), default=None)
                for box in blocks.rectangles
            ]
            for number, stage in enumerate(stages):
                stage.append((at, blocks, [pe for pe in blocks.pes() if completing[pe] == number]))
        code = Code.of(self.machine, "activations")
        if fields["memory"] == "dram":
            by_stage = [
                Counter(
                    {
                        c: sum(blocks.bytes_of_channel(pe, c) for _, blocks, pes in stage for pe in pes)
                        for c in range(*channels)
                    }
                )
                for stage in stages
            ]
            self.results = ("dram_write_bytes", by_stage, lambda total: total)
        else:
            vectors = sum(blocks.vectors(pe, range(*channels), self.i) for blocks in tiles for pe in blocks.pes())
            self.counters["oaram_writes"] += vectors * self.replicas(fields["tensor"])
            self.results = ("dram_spill_bytes", self.memory.write(to, channels, stages), code.excess_bytes)

    def share_results(self):
        """Gives each drain the results that cross DRAM when it has ended."""
        if self.results is None:
            return
        counter, by_stage, bytes_of = self.results
        first = self.destination["channels"][0]

        def share(pass_: int, k: tuple) -> int:
            total = bytes_of(sum(by_stage[pass_][first + channel] for channel in range(*k)))
            total += self.change.result_byte if total else 0
            self.counters[counter] += total
            return total

        for task in self.work.tasks:
            if isinstance(task, Drain):
                for round_, drains in enumerate(task.rounds, task.first_round):
                    for (_, k), drain in zip(self.channel_groups(round_), drains):
                        drain[2] = share(task.number, k)
            elif isinstance(task, Process):
                task.result_bytes = share(task.number, (0, length(self.destination["channels"])))
