"""Sections 4 to 10 of the rules: every cycle of a layer.

Time jumps from one cycle in which something can happen to the next. In each, whatever can begin or end does, until
nothing is left: first PEs, PPUs and the mover, then bulk transfers, then one request for weights at a time.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

import steps
from blocks import Code, ceil_div
from change import NONE, Change
from geometry import Tile, pe_of_array
from layer import Drain, Load, Multiply, Process, Store, Work

UNITS = 1 << 16


@dataclass
class Part:
    item: int
    column: int  # (channel, residue) counted from the first of the region
    key: tuple  # (channel of the tensor, residue)
    weights: np.ndarray
    vectors: int
    bytes: int
    first: bool = False
    last: bool = False
    by_bus: int = 0
    arrived: int = 0
    finished: int | None = None


@dataclass
class Item:
    """A round of a `mac`."""

    task: int
    mac: Multiply
    round: int
    spill: int
    ordinal: int
    running: int
    begun: int | None = None
    finished: dict = field(default_factory=dict)  # by group
    retired: dict = field(default_factory=dict)
    spilled: int | None = None


@dataclass
class Stream:
    pes: list
    parts: list
    requested: int = 0
    ran: int = 0
    busiest: int = 0
    begun: bool = False
    ending: tuple | None = None


@dataclass
class Request:
    ready: int
    rank: tuple
    bytes: int
    served: object


class Exact:
    def __init__(
        self,
        machine: dict,
        work: Work,
        memory,
        change: Change = NONE,
        log: list | None = None,
        head_start: int = 0,
    ):
        self.machine, self.work, self.memory, self.change = machine, work, memory, change
        self.log = log
        # Time counts from the head start (section 9).
        self.begin = head_start
        self.now, self.latest = 0, self.begin
        self.wakes = [0, self.begin]
        self.finish = [self.begin] * len(work.has_tile)
        self.queues = np.zeros((len(work.has_tile), machine["pe"]["banks"]), dtype=np.int64)
        self.waits: Counter = Counter()
        self.products: dict = {}
        self.units_per_byte = UNITS / (machine["dram"]["gigabytes_per_second"] / machine["clock"]["gigahertz"])
        self.weights_end, self.bulk_end, self.serving = 0, 0, None
        self.served: list = []  # (end, units) of bulk transfers
        self.requests: list = []
        self.bus = 0
        self.mover = {"next": 0, "busy": False, "free": self.begin}
        self.loaded = [[] for _ in work.tasks]
        self.ended: list = [None] * len(work.tasks)
        self.items = self.list_items()
        self.closing = {item.ordinal: number for number, item in enumerate(self.items)}
        groups = work.groups[0] * work.groups[1]
        grid = Tile.of(work.layout["tiles"][0]).grid()
        pes = [
            [pe_of_array(machine, grid, work.groups, g, pe) for pe in range(grid[0] * grid[1])] for g in range(groups)
        ]
        self.streams = [Stream(pes[group], self.cut(group), busiest=self.begin) for group in range(groups)] if work.weights else []
        self.drained: dict = {}
        self.ppus = [{"jobs": jobs, "free": self.begin, "busy": False} for jobs in self.jobs(groups)]
        self.left = {task: sum(map(len, it.rounds)) for task, it in enumerate(work.tasks) if isinstance(it, Drain)}

    # What there is to do.

    def list_items(self) -> list:
        items, opened, first = [], 0, 0
        groups = self.work.groups[0] * self.work.groups[1]
        for task, mac in enumerate(self.work.tasks):
            if not isinstance(mac, Multiply):
                continue
            if mac.opens:
                first, opened = opened, opened + len(mac.rounds)
            for at, round_ in enumerate(mac.rounds):
                items.append(Item(task, mac, round_, mac.spills[at], first + at, groups))
        return items

    def cut(self, group: int) -> list:
        """All parts of a stream."""
        code, width = Code.of(self.machine, "weights", self.change), self.machine["pe"]["weights_per_vector"]
        most = (self.machine["weights"]["fifo_vectors"] - self.change.part_vector) * width or width
        residues = self.work.layout["residues"][0] * self.work.layout["residues"][1]
        groups, parts = self.work.groups[0] * self.work.groups[1], []
        for number, item in enumerate(self.items):
            mac, first = item.mac, self.work.layer["source"]["channels"][0]
            begin, end = mac.channels
            carried, of_item = 0, []
            for block in self.work.weights[item.round * groups + group]:
                if not begin <= block.channel < end:
                    continue
                bytes_ = code.bytes(block.elements)
                if block.elements == 0:
                    carried += bytes_
                column = mac.first_column + block.channel * residues + block.residue
                for at in range(0, block.elements, most):
                    to = min(at + most, block.elements)
                    share = bytes_ * to // block.elements - bytes_ * at // block.elements
                    key = (first + block.channel, block.residue)
                    of_item.append(
                        Part(number, column, key, block.taps[at:to], ceil_div(to - at, width), share + carried)
                    )
                    carried = 0
            if not of_item:
                column = mac.first_column + begin * residues
                of_item.append(Part(number, column, (first + begin, 0), np.zeros((0, 3), dtype=np.int64), 0, 0))
            if not self.change.trailing_counts:
                of_item[-1].bytes += carried
            of_item[0].first = of_item[-1].last = True
            parts += of_item
        return parts

    def jobs(self, groups: int) -> list:
        """What the PPUs of each group do in order: (task, number in the drain, ordinal, numbers)."""
        jobs = [[] for _ in range(groups)]
        for task, it in enumerate(self.work.tasks):
            if isinstance(it, Process):
                jobs[0].append((task, None, None))
            if isinstance(it, Drain):
                closing = [item.task for item in self.items if item.task < task and item.mac.closes]
                ordinals = [item.ordinal for item in self.items if closing and item.task == closing[-1]]
                for of_round, ordinal in zip(it.rounds, ordinals):
                    for group in range(groups):
                        jobs[group].append((task, of_round[group], ordinal))
        return jobs

    # Time.

    def at(self, cycle: int):
        """Something can happen then."""
        if cycle > self.now:
            heapq.heappush(self.wakes, cycle)

    def past(self, cycle) -> bool:
        return cycle is not None and cycle <= self.now

    def run(self):
        """Cycles of the layer, where its PEs waited, and the head start that it leaves to the next layer."""
        while self.wakes:
            self.now = heapq.heappop(self.wakes)
            while self.settle() or self.bulk() or self.request_weights():
                pass
        assert all(end is not None for end in self.ended), "a task never ended"
        return self.end_layer()

    def settle(self) -> bool:
        if self.now < self.begin:
            return False
        changed = self.move()
        for group in range(len(self.ppus)):
            changed |= self.post_process(group)
        for group in range(len(self.streams)):
            changed |= self.multiply(group)
        return changed

    def note(self, begin: int, end: int, text: str):
        """An entry of the log, if there is one."""
        if self.log is not None:
            self.log.append((begin, end, text))

    # Section 6: DRAM.

    def units(self, bytes_: int) -> int:
        return -int(-(bytes_ * self.units_per_byte) // 1) + self.change.dram_cycle * UNITS

    def carry_weights(self, bytes_: int) -> int:
        if bytes_ == 0:
            return self.now
        units = self.units(bytes_)
        begin = max(self.weights_end, self.now * UNITS)
        if self.change.bulk_first and self.serving:
            begin = max(begin, self.bulk_end)
        elif self.serving:
            self.bulk_end += units
            self.at(ceil_div(self.bulk_end, UNITS))
        self.weights_end = begin + units
        return ceil_div(self.weights_end, UNITS)

    def request(self, ready: int, rank: tuple, bytes_: int, served):
        self.requests.append(Request(ready, rank, bytes_, served))
        self.at(ready)

    def bulk(self) -> bool:
        if self.serving and ceil_div(self.bulk_end, UNITS) <= self.now:
            request, self.serving = self.serving, None
            self.served.append((self.bulk_end, self.units(request.bytes)))
            end = ceil_div(self.bulk_end, UNITS)
            self.latest = max(self.latest, end)
            request.served(end)
            return True
        waiting = [it for it in self.requests if it.ready <= self.now and (it.bytes == 0 or not self.serving)]
        if not waiting:
            return False
        request = min(waiting, key=lambda it: (it.ready, it.rank))
        self.requests.remove(request)
        if request.bytes == 0:
            self.latest = max(self.latest, request.ready)
            request.served(request.ready)
        else:
            begin = max(self.bulk_end, self.weights_end, request.ready * UNITS)
            self.bulk_end, self.serving = begin + self.units(request.bytes), request
            self.at(ceil_div(self.bulk_end, UNITS))
        return True

    # Section 5: weights.

    def request_weights(self) -> bool:
        ready = [(stream.requested, group) for group, stream in enumerate(self.streams) if self.can_request(stream)]
        if not ready:
            return False
        number, group = min(ready)
        stream = self.streams[group]
        part, width = stream.parts[number], self.machine["weights"]["bus_vectors_per_cycle"]
        self.bus = max(self.bus, self.now * width) + part.vectors + (self.change.bus_vector if part.vectors else 0)
        part.by_bus = ceil_div(self.bus, width)
        before = stream.parts[number - 1].arrived if number else 0
        by_dram = self.carry_weights(part.bytes)
        part.arrived = max(part.by_bus, by_dram, before)
        stream.requested += 1
        round_ = self.items[part.item].round
        what = f"weights of column {part.column}, round {round_}: {part.vectors} vectors, {part.bytes} bytes"
        self.note(self.now, part.arrived, what)
        self.at(part.arrived)
        return True

    def can_request(self, stream: Stream) -> bool:
        if stream.requested == len(stream.parts):
            return False
        part = stream.parts[stream.requested]
        held = sum(it.vectors for it in stream.parts[: stream.requested] if not self.past(it.finished))
        room = self.machine["weights"]["fifo_vectors"] - self.change.fifo_vector
        fits = held + part.vectors <= room or held == 0
        loaded = self.past(self.when_loaded(part)) or bool(self.change.eager_weights)
        return fits and (loaded or self.carried_ahead(part))

    def carried_ahead(self, part: Part) -> bool:
        """Whether DRAM will have carried a part before the layer begins (section 9)."""
        end = max(self.weights_end, self.now * UNITS) + (self.units(part.bytes) if part.bytes else 0)
        return self.now < self.begin and end <= self.begin * UNITS

    def when_loaded(self, part: Part):
        """When the activations of a part were loaded; None if they have not been."""
        item = self.items[part.item]
        load = self.load_before(item.task, item.mac.region)
        if load is None:
            return 0
        columns = self.loaded[load]
        return columns[part.column] if part.column < len(columns) else None

    def load_before(self, task: int, region):
        """The last load before a task into memory that a region overlaps."""
        loads = (at for at in range(task - 1, -1, -1) if isinstance(self.work.tasks[at], Load))
        return next((at for at in loads if region and self.memory.overlap(self.work.tasks[at].region, region)), None)

    # Section 4: rounds.

    def multiply(self, group: int) -> bool:
        stream = self.streams[group]
        if stream.ending:
            return self.end_item(group)
        if stream.ran == stream.requested:
            return False
        part = stream.parts[stream.ran]
        loaded = self.when_loaded(part)
        if not self.past(part.arrived) or not self.past(loaded):
            return False
        bounds = (loaded, part.by_bus, part.arrived)
        if part.first and not self.begin_item(group, part, bounds):
            return False
        self.run_part(stream, part, bounds)
        return True

    def begin_item(self, group: int, part: Part, bounds: tuple) -> bool:
        stream, item = self.streams[group], self.items[part.item]
        others, ppus = 0, 0
        before = self.items[part.item - 1] if part.item else None
        if self.machine["sync"]["drift"] == "group" and before:
            if before.running or max(before.finished.values()) > self.now:
                return False
            others = max(before.finished.values())
        half = item.ordinal - 2 - self.change.third_half
        if item.mac.opens and half >= 0:
            ppus = self.drained.get((half, group))
            if not self.past(ppus):
                return False
            others = max(others, self.items[self.closing[half]].finished[group])
        spill = before.spilled if before and before.spilled else 0
        bounds = (max(bounds[0], spill), *bounds[1:])
        begun = []
        for pe in item.mac.activations.with_tile():
            begun.append(self.wait(stream.pes[pe], (others, ppus), bounds))
        stream.busiest = max(stream.busiest, *begun)
        self.note(min(begun), min(begun), f"round {item.round} begins")
        first = min(begun) if item.begun is None else min(item.begun, *begun)
        if item.spill and item.begun is None:
            self.request(first, (1, 0), item.spill, lambda end: self.set_spilled(item, end))
        elif item.spill:
            for request in self.requests:
                request.ready = first if request.rank == (1, 0) else request.ready
        item.begun = first
        return True

    def set_spilled(self, item: Item, end: int):
        item.spilled = end

    def run_part(self, stream: Stream, part: Part, bounds: tuple):
        mac = self.items[part.item].mac
        pes, products = [], []
        for pe in mac.activations.with_tile() if len(part.weights) else []:
            block = mac.activations.block(pe, *part.key)
            if block is not None and block.elements:
                pes.append(stream.pes[pe])
                products.append(self.products_of(mac).by_step(pe, block.positions, part.weights))
                self.wait(pes[-1], (0, 0), bounds)
        if pes:
            depth = self.machine["pe"]["queue_depth"] + self.change.queue_entry
            for pe, waits in zip(pes, steps.run(self.queues, pes, products, depth)):
                for step, wait in enumerate(waits.tolist() if self.log is not None else ()):
                    held, streamed = divmod(step, part.vectors)
                    end = self.finish[pe] + step + 1 + int(waits[: step + 1].sum())
                    stall = f", after {wait} of waiting for a bank" if wait else ""
                    what = f"column {part.column}, activation vector {held} x weight vector {streamed}{stall}"
                    self.note(end - 1 - wait, end, f"PE {pe}: step of {what}")
                self.finish[pe] += len(waits) + int(waits.sum())
                self.waits["bank_stall"] += int(waits.sum())
                stream.busiest = max(stream.busiest, self.finish[pe])
        stream.busiest = max(stream.busiest, *bounds)
        part.finished = stream.busiest
        self.at(part.finished)
        stream.ran += 1
        if part.last:
            stream.ending = (part.item, bounds)

    def products_of(self, mac: Multiply) -> steps.Products:
        if id(mac) not in self.products:
            tile = Tile.of(self.work.layout["tiles"][mac.tile])
            self.products[id(mac)] = steps.Products(
                self.machine, self.work.layer["array"], tile, mac.inner, self.change
            )
        return self.products[id(mac)]

    def end_item(self, group: int) -> bool:
        stream = self.streams[group]
        number, (loaded, by_bus, arrived) = stream.ending
        item = self.items[number]
        if item.spill and not self.past(item.spilled):
            return False
        bounds = (loaded, by_bus, max(arrived, item.spilled or 0))
        finished, retired = 0, 0
        for pe in item.mac.activations.with_tile():
            end = self.wait(stream.pes[pe], (0, 0), bounds)
            finished = max(finished, end)
            retired = max(retired, end + (0 if self.change.retired_early else int(self.queues[stream.pes[pe]].max())))
        stream.ending, stream.busiest = None, max(stream.busiest, finished)
        item.finished[group], item.retired[group] = finished, retired
        item.running -= 1
        self.note(finished, retired, f"round {item.round} has ended; its queues empty")
        self.latest = max(self.latest, finished)
        for cycle in (finished, retired):
            self.at(cycle)
        if not any(other.running for other in self.items if other.task == item.task):
            self.ended[item.task] = max(
                max(other.finished.values()) for other in self.items if other.task == item.task
            )
        return True

    # Section 10: waiting.

    def wait(self, pe: int, others: tuple, bounds: tuple) -> int:
        """A PE waits for other PEs and PPUs, then for loads, bus and arrival."""
        begin = self.finish[pe]
        self.finish[pe] = self.charge(begin, others, bounds)
        self.queues[pe] = np.maximum(self.queues[pe] - (self.finish[pe] - begin), 0)
        return self.finish[pe]

    def charge(self, at: int, others: tuple, bounds: tuple) -> int:
        causes = [
            ("barrier", others[0]),
            ("drain", others[1]),
            ("dram", bounds[0]),
            ("fifo", bounds[1]),
            ("dram", bounds[2]),
        ]
        if self.change.bus_charge:
            causes[2], causes[3] = causes[3], causes[2]
        for cause, bound in causes:
            self.waits[cause] += max(bound - at, 0)
            at = max(at, bound)
        return at

    # Section 7: the mover.

    def move(self) -> bool:
        mover, tasks = self.mover, self.work.tasks
        while mover["next"] < len(tasks) and not isinstance(tasks[mover["next"]], (Load, Store)):
            mover["next"] += 1
        if mover["busy"] or mover["next"] == len(tasks) or not self.past(mover["free"]):
            return False
        number = mover["next"]
        task = tasks[number]
        waits_for = self.readers(number, task.region) if isinstance(task, Load) else self.writers(number)
        if not all(self.past(self.ended[other]) for other in waits_for):
            return False
        mover["next"], mover["busy"] = number + 1, True
        if isinstance(task, Load):
            self.load_column(number, self.now)
        else:
            ready = self.now
            self.request(ready, (0, 0), task.bytes, lambda end: self.moved(number, max(end, ready + task.vectors)))
        return True

    def readers(self, number: int, region: str) -> list:
        """Earlier tasks that read memory which a region overlaps."""
        read = {Multiply: ("region",), Process: ("region", "operand"), Drain: ("operand",)}
        return [
            at
            for at, task in enumerate(self.work.tasks[:number])
            if any(
                getattr(task, name) and self.memory.overlap(getattr(task, name), region)
                for name in read.get(type(task), ())
            )
        ]

    def writers(self, number: int) -> list:
        return [at for at, task in enumerate(self.work.tasks[:number]) if isinstance(task, (Drain, Process))]

    def load_column(self, number: int, ready: int):
        columns, load = self.loaded[number], self.work.tasks[number]
        bytes_, vectors = load.columns[len(columns)]

        def served(end: int):
            before = columns[-1] if columns else 0
            columns.append(max(before, end, ready + vectors) + self.change.load_cycle)
            self.note(ready, columns[-1], f"load of column {len(columns) - 1}: {bytes_} bytes")
            self.at(columns[-1])
            if len(columns) < len(load.columns):
                self.load_column(number, ready)
            else:
                self.moved(number, columns[-1])

        self.request(ready, (0, 0), bytes_, served)

    def moved(self, number: int, end: int):
        self.mover["busy"], self.mover["free"], self.ended[number] = False, end, end
        self.latest = max(self.latest, end)
        self.at(end)

    # Section 8: PPUs.

    def post_process(self, group: int) -> bool:
        ppus = self.ppus[group]
        if ppus["busy"] or not ppus["jobs"] or not self.past(ppus["free"]):
            return False
        number, drain, ordinal = ppus["jobs"][0]
        task = self.work.tasks[number]
        loads = [self.load_before(number, task.operand)]
        if isinstance(task, Process):
            loads.append(self.load_before(number, task.region))
            cycles, read, written = task.cycles, task.read_bytes, task.result_bytes
        else:
            cycles, read, written = drain
            if not self.past(self.items[self.closing[ordinal]].retired.get(group)):
                return False
        if not all(load is None or self.past(self.ended[load]) for load in loads):
            return False
        ppus["jobs"].pop(0)
        ppus["busy"] = True
        begin = self.now

        def end(operand: int):
            at = max(begin + cycles, operand)
            ppus["busy"], ppus["free"] = False, at
            self.latest = max(self.latest, at)
            self.note(begin, at, f"drain of round {ordinal}" if drain else "PPUs alone")
            self.at(at)
            if drain:
                self.drained[ordinal, group] = at
                self.left[number] -= 1
            if not drain or not self.left[number]:
                self.ended[number] = max(at, self.ended[number] or 0, *(self.drained.values() if drain else (0,)))
            if written:
                served = lambda end: self.note(at, end, f"results: {written} bytes")
                self.request(at, (3, group), written, served)

        if read:
            self.request(begin, (2, group), read, end)
        else:
            end(begin)
        return True

    # Sections 9 and 10: the layer's end.

    def end_layer(self):
        self.latest += self.change.layer_cycle
        cycles = self.latest - self.begin
        last_pe, last_ppu = max(self.finish), max((ppus["free"] for ppus in self.ppus), default=0)
        ends = [self.ended[at] for at, task in enumerate(self.work.tasks) if isinstance(task, Load)]
        first = 0 if self.work.weights else max(ends, default=0)
        for pe, finish in enumerate(self.finish):
            if not self.work.has_tile[pe]:
                self.waits["no_tile"] += cycles
                continue
            at = max(finish, min(first, self.latest))
            self.waits["dram"] += at - finish
            self.charge(at, (last_pe, last_ppu), (self.latest, 0, 0))
        return cycles, self.waits, self.next_head_start()

    def next_head_start(self) -> int:
        """Section 9: what bulk transfers leave of the channel since the last item has ended."""
        if self.machine["sync"].get("layers") != "overlap":
            return 0
        ended = max((end for item in self.items for end in item.finished.values()), default=self.begin)
        busy = sum(max(0, min(units, end - ended * UNITS)) for end, units in self.served)
        return max(0, (self.latest - ended) * UNITS - busy) // UNITS + self.change.head_start
