"""Section 11 of the rules: steps and barriers alone."""

from collections import Counter

from blocks import ceil_div
from change import NONE, Change
from geometry import Tile, pe_of_array
from layer import Multiply, Work


def time(machine: dict, work: Work, change: Change = NONE):
    """Cycles of a layer, and where its PEs waited."""
    groups = work.groups[0] * work.groups[1]
    grid = Tile.of(work.layout["tiles"][0]).grid()
    end = [0] * len(work.has_tile)
    ends_of_round: dict = {}
    opened = first = last = total = 0
    for mac in work.tasks:
        if not isinstance(mac, Multiply):
            continue
        if mac.opens:
            first, opened = opened, opened + len(mac.rounds)
        for ordinal, round_ in enumerate(mac.rounds, first):
            for group in range(groups):
                pes = [pe_of_array(machine, grid, work.groups, group, pe) for pe in range(grid[0] * grid[1])]
                bound = ends_of_round.get((ordinal - 2, group), 0)
                if machine["sync"]["drift"] == "group" or change.fast_barrier:
                    bound = last
                for pe, at in enumerate(pes):
                    of_pe = steps(machine, work, mac, round_ * groups + group, pe)
                    end[at] = max(end[at], bound) + of_pe
                    total += of_pe
                ends_of_round[ordinal, group] = max(end[at] for at in pes)
            last = max(ends_of_round[ordinal, group] for group in range(groups))
    tiles = sum(work.has_tile)
    waits = Counter(barrier=tiles * last - total, no_tile=(len(end) - tiles) * last)
    return last, waits


def steps(machine: dict, work: Work, mac: Multiply, group: int, pe: int) -> int:
    """Steps of a PE in a round."""
    f, i = machine["pe"]["weights_per_vector"], machine["pe"]["activations_per_vector"]
    first = work.layer["source"]["channels"][0]
    total = 0
    for block in work.weights[group]:
        if mac.channels[0] <= block.channel < mac.channels[1]:
            held = mac.activations.elements(pe, first + block.channel, block.residue)
            total += ceil_div(block.elements, f) * ceil_div(held, i)
    return total
